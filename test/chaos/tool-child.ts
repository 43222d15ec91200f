import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { UNKNOWN_USAGE } from '../../src/domain/execution/usage.ts'
import { defineFunction } from '../../src/domain/tools/functions.ts'
import { createPolyphony } from '../../src/polyphony.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { CHAOS_INPUT, CHAOS_USER } from './chaos-flows.ts'

/** What the process reports: it is open, it has created a flow, it asks about a lost call, the flow has ended. */
export interface ToolReport {
  readonly type: 'open' | 'created' | 'asked' | 'completed' | 'failed'
  readonly flowId?: string
  readonly output?: string
  readonly message?: string
}

/** What the outside world gets of a call of a model or of a tool. */
export interface ToolRequest {
  readonly kind: 'model' | 'tool'
  readonly run: string
  /** The turn of the model, from 1; the operation of the tool. */
  readonly turn?: number
  readonly operation?: string
  readonly key?: string
}

/** `<database> <url of the world>`: runs flows whose model calls tools; both live in the world, which outlives the process. */
const [database = '', world = ''] = process.argv.slice(2)
const report = (message: ToolReport) => void process.send?.(message)

async function ask(request: ToolRequest, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(world, { method: 'POST', body: JSON.stringify(request), signal })
  return response.json()
}

const desk: Provider = {
  id: 'desk',
  kind: 'desk',
  vendor: 'desk',
  simulated: false,
  async generate({ model, system = '', messages }, { signal }) {
    const turn = messages.filter(({ role }) => role === 'assistant').length + 1
    await ask({ kind: 'model', run: system, turn }, signal)
    const answer = { model, usage: UNKNOWN_USAGE, notes: [] }
    if (turn === 3) return { ...answer, text: `answer of ${system}`, finishReason: 'stop' }
    const call = (name: string) => ({ id: `${name}-${turn}`, name, arguments: JSON.stringify({ run: system }) })
    return { ...answer, text: '', finishReason: 'tool_calls', toolCalls: [call('set'), call('send')] }
  },
}

const functionOf = (operation: string, idempotent: boolean) =>
  defineFunction({
    input: z.object({ run: z.string() }),
    idempotent,
    run: ({ run }, { idempotencyKey, signal }) => ask({ kind: 'tool', run, operation, key: idempotencyKey }, signal),
  })

const polyphony = await createPolyphony(
  {
    database,
    logLevel: 'error',
    providers: { desk },
    functions: { set: functionOf('set', true), send: functionOf('send', false) },
  },
  { env: {}, cwd: '/nonexistent' },
)
const { orchestrator, conversations } = polyphony
await polyphony.resumeInterrupted()
polyphony.startBackgroundWork()

/** A model that calls the functions as tools, or steps that call them in turn. */
export type KilledFlow = 'tools' | 'functions'

const stepsOf = (flow: KilledFlow, run: string): FlowDefinitionInput['steps'] =>
  flow === 'tools'
    ? [{ id: 'answer', model: 'desk/m', action: 'generate', system: run, tools: ['function/*'] }]
    : ['set', 'send'].map((id) => ({ id, model: `function/${id}`, action: 'run', arguments: { run } }))

async function execute({ run, flow: kind }: { readonly run: string; readonly flow: KilledFlow }): Promise<void> {
  const { id: threadId } = await conversations.createThread(CHAOS_USER)
  const definition = { name: kind, type: 'sequential', steps: stepsOf(kind, run) } as const
  const flow = await orchestrator.createFlow(threadId, CHAOS_USER, definition)
  report({ type: 'created', flowId: flow.id })
  const { finalOutput } = await orchestrator.executeFlow(flow.id, CHAOS_USER, { input: CHAOS_INPUT, resumeAfterCrash: true })
  report({ type: 'completed', flowId: flow.id, output: finalOutput })
}

process.on('message', (given: Parameters<typeof execute>[0]) => {
  execute(given).catch((error: unknown) =>
    report({ type: 'failed', message: error instanceof Error ? error.message : String(error) }),
  )
})
process.on('disconnect', () => process.exit())
report({ type: 'open' })

// The user allows every call to be repeated whose outcome is unknown.
for (;;) {
  for (const { flowId, path, hash } of await orchestrator.listWaiting(CHAOS_USER)) {
    report({ type: 'asked', flowId })
    await orchestrator.signal(flowId, CHAOS_USER, path, { approved: true, hash })
  }
  await sleep(20)
}
