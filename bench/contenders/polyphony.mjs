// Polyphony as a contender, here and in the peer bench. Uses only the public API of the built package. Variants: mem
// (memory://), pg (Postgres), pglite (the embedded Postgres, in memory), bull (engine bullmq with its queue in the same
// Postgres); with the last three every step is durable before the next one starts. POLYPHONY_DIST is the path or file URL of the built package (its dist folder or entry file);
// default: the build beside this folder, else the installed package.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { existsSync, statSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { marks } from '../lib/llm.mjs'

export const variants = ['mem', 'pg', 'pglite', 'bull']

const USER = 'bench'
const model = 'bench/fake-1'

const seq = {
  name: 'seq',
  type: 'sequential',
  contextPolicy: { maxSharedTokens: 100_000 },
  steps: [
    { id: 'generate', model, action: 'generate', prompt: 'Write an answer to: {{ original }}' },
    {
      id: 'critique',
      model,
      action: 'critique',
      prompt: 'Question: {{ original }}\nAnswer: {{ steps.generate.output }}\nCriticise the answer.',
    },
    {
      id: 'refine',
      model,
      action: 'refine',
      prompt:
        'Question: {{ original }}\nAnswer: {{ steps.generate.output }}\nCritique: {{ steps.critique.output }}\nWrite an improved answer.',
    },
  ],
}

const branches = [0, 1, 2, 3, 4]
const par = {
  name: 'par',
  type: 'parallel',
  contextPolicy: { maxSharedTokens: 100_000 },
  steps: [
    ...branches.map((i) => ({ id: `branch${i}`, model, action: 'generate', prompt: `Expert ${i}: answer {{ original }}` })),
    {
      id: 'synth',
      model,
      action: 'summarize',
      prompt: `Question: {{ original }}\n${branches.map((i) => `[${i}] {{ steps.branch${i}.output }}`).join('\n')}\nSynthesise.`,
    },
  ],
}

const definitions = { seq, par }

const databases = {
  mem: () => 'memory://?flows=100',
  pg: (url) => url,
  pglite: () => 'pglite://memory',
  bull: (url) => url,
}

function findEntry() {
  const named = process.env.POLYPHONY_DIST
  const url = named ? (named.startsWith('file:') ? new URL(named) : pathToFileURL(named)) : new URL('../../dist', import.meta.url)
  if (!existsSync(url)) {
    if (named) throw new Error(`POLYPHONY_DIST: expected the built package at ${named}, found nothing`)
    return 'polyphony'
  }
  return statSync(url).isDirectory() ? `${url.href.replace(/\/$/, '')}/src/index.js` : url.href
}

/** Loads the built module for a path in `src`, such as `server/main`. */
export function entryOf(name) {
  const entry = findEntry()
  if (entry === 'polyphony') return name === 'index' ? entry : `polyphony/${name.split('/')[0]}`
  return entry.replace(/index\.js$/, `${name}.js`)
}

// The first model call counts from the moment a request leaves, not from the start of the flow.
const onRequest = () => {
  marks.firstCall ||= performance.now()
  unsubscribe('undici:request:create', onRequest)
}
subscribe('undici:request:create', onRequest)

export default async function create(variant) {
  const { createPolyphony } = await import(findEntry())
  let polyphony
  let threadId
  const run = async (definition, input, options) => {
    const flow = await polyphony.orchestrator.createFlow(threadId, USER, definition)
    const result = await polyphony.orchestrator.executeFlow(flow.id, USER, { input, ...options })
    return { text: result.finalOutput, tokens: result.totalTokens }
  }
  return {
    persisted: variant !== 'mem',
    async setup({ baseURL, pgUrl }) {
      polyphony = await createPolyphony({
        database: databases[variant](pgUrl),
        engine: variant === 'bull' ? 'bullmq' : 'local',
        providers: { bench: { kind: 'openai-compatible', baseUrl: baseURL, apiKey: 'sk-fake' } },
      })
      threadId = (await polyphony.conversations.createThread(USER, { title: 'bench' })).id
    },
    runFlow: (kind, prompt) => run(definitions[kind], prompt),
    streamFlow: (prompt, onToken) =>
      run(seq, prompt, {
        streaming: true,
        onUpdate: (update) => {
          if (update.type === 'step_progress') onToken(update.data.delta)
        },
      }),
    teardown: () => polyphony.close(),
  }
}
