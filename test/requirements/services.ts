import {
  createScriptedProvider,
  type ExecuteFlowOptions,
  type FlowDefinitionInput,
  type FlowExecutionResult,
  type FlowStepInput,
  type FlowUpdate,
  type ModelRequest,
  type OrchestrationFlow,
  type Polyphony,
} from 'polyphony'
import { afterAll, beforeAll, describe } from 'vitest'
import { step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { createVendorServer, type VendorServer } from '../support/vendor-server.ts'

type Replies = Parameters<typeof createScriptedProvider>[0]['replies']

/** A model of a scripted provider that no other test of these services uses. */
export interface ScriptedModel {
  /** Goes into a step: `{ id, ...model.target, action }`. */
  readonly target: { readonly provider: string; readonly model: string }
  /** What it was asked so far. */
  readonly requests: readonly ModelRequest[]
  /** A step that asks this model. */
  step(id: string, more?: Partial<FlowStepInput>): FlowStepInput
  /** System prompt and messages of one request, as JSON. */
  sent(index: number): string
}

export interface Person {
  readonly userId: string
  readonly threadId: string
}

export interface Run extends Person {
  readonly flow: OrchestrationFlow
  readonly result: FlowExecutionResult
  readonly updates: readonly FlowUpdate[]
}

/** One Polyphony on one database, with three scripted providers and the real adapters in front of a loopback vendor. */
export interface Services {
  readonly polyphony: Polyphony
  readonly vendor: VendorServer
  /** Replies in order, or worked out from the request; default provider `alpha`, default name one of its own. */
  model(replies: Replies, provider?: ScriptedName, name?: string): ScriptedModel
  /** A new user with a new thread. */
  person(): Promise<Person>
  /** A new user's flow, run to its end with the input `the question` unless another one is given. */
  run(definition: FlowDefinitionInput, options?: ExecuteFlowOptions, whose?: Person): Promise<Run>
}

const SCRIPTED = ['alpha', 'beta', 'gamma'] as const
type ScriptedName = (typeof SCRIPTED)[number]

/** US dollars per million tokens of `alpha/priced`: simple enough to reckon in one's head. */
export const PRICED = { inputPerMillion: 1_000_000, outputPerMillion: 2_000_000 }

export const DATABASES = ['memory://', 'pglite://memory', 'postgres'] as const

/** For stories in which storage matters. */
export const describeOnEveryDatabase = (topic: string, story: (services: Services) => void): void =>
  describeOn(DATABASES, topic, story)

/** For stories that would be told the same on every database, which the suite of the repositories proves. */
export const describeInMemory = (topic: string, story: (services: Services) => void): void =>
  describeOn(['memory://'], topic, story)

function describeOn(databases: readonly (typeof DATABASES)[number][], topic: string, story: (services: Services) => void): void {
  describe.each(databases)(`${topic}, on %s`, (database) => {
    let opened: OpenServices | undefined
    beforeAll(async () => {
      opened = await openServices(database)
    })
    afterAll(() => opened?.close())
    const now = () => {
      if (!opened) throw new Error('The services open before the first test')
      return opened
    }
    story({
      get polyphony() {
        return now().polyphony
      },
      get vendor() {
        return now().vendor
      },
      model: (...given) => now().model(...given),
      person: () => now().person(),
      run: (...given) => now().run(...given),
    })
  })
}

interface OpenServices extends Services {
  close(): Promise<void>
}

async function openServices(database: (typeof DATABASES)[number]): Promise<OpenServices> {
  const postgres = database === 'postgres' ? await openTestPostgres() : undefined
  const vendor = await createVendorServer()
  const scripts = new Map<string, Replies>()
  const requests = new Map<string, ModelRequest[]>()
  const scripted = SCRIPTED.map((id) => [id, createDispatcher(id, scripts, requests)] as const)
  const polyphony = await openTestPolyphony({
    database: postgres?.url ?? database,
    providers: {
      ...Object.fromEntries(scripted),
      openai: { apiKey: 'key-o', baseUrl: `${vendor.url}/v1`, api: 'chat' },
      answers: { kind: 'openai', apiKey: 'key-r', baseUrl: `${vendor.url}/v1`, api: 'responses' },
      anthropic: { apiKey: 'key-a', baseUrl: vendor.url },
      google: { apiKey: 'key-g', baseUrl: vendor.url },
      local: { kind: 'openai-compatible', preset: 'ollama', baseUrl: `${vendor.url}/v1` },
      asleep: { kind: 'openai', apiKey: 'key-s', baseUrl: `${vendor.url}/v1`, active: false },
    },
    prices: { 'alpha/priced': PRICED },
    retry: { baseDelayMs: 1, maxDelayMs: 5 },
  })
  let people = 0
  let models = 0
  const person = async () => {
    const userId = `user-${++people}`
    const thread = await polyphony.conversations.createThread(userId, {})
    return { userId, threadId: thread.id }
  }
  return {
    polyphony,
    vendor,
    person,
    model(replies, provider = 'alpha', model = `model-${++models}`) {
      const seen: ModelRequest[] = []
      scripts.set(model, replies)
      requests.set(model, seen)
      const sent = (index: number) => JSON.stringify([seen[index]?.system, seen[index]?.messages])
      const target = { provider, model }
      return { target, step: (id, more) => step(id, { ...target, ...more }), requests: seen, sent }
    },
    async run(definition, options = {}, whose) {
      const { userId, threadId } = whose ?? (await person())
      const flow = await polyphony.orchestrator.createFlow(threadId, userId, definition)
      const updates: FlowUpdate[] = []
      const onUpdate = (update: FlowUpdate) => updates.push(update)
      const result = await polyphony.orchestrator.executeFlow(flow.id, userId, { input: 'the question', onUpdate, ...options })
      return { userId, threadId, flow, result, updates }
    },
    async close() {
      await polyphony.close()
      await vendor.close()
      await postgres?.drop()
    },
  }
}

/** One provider for all models: each model has its own script and its own count. */
function createDispatcher(id: string, scripts: ReadonlyMap<string, Replies>, requests: ReadonlyMap<string, ModelRequest[]>) {
  return createScriptedProvider({
    id,
    replies: async (request) => {
      const script = scripts.get(request.model) ?? ((asked: ModelRequest) => `answer of ${asked.model}`)
      const index = (requests.get(request.model)?.push(request) ?? 1) - 1
      const reply = typeof script === 'function' ? await script(request, index) : script[index]
      return reply ?? new Error(`no reply left for ${request.model}`)
    },
  })
}
