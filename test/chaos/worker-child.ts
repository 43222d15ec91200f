import { setTimeout as sleep } from 'node:timers/promises'
import { createPolyphony, type FlowDefinitionInput, type PolyphonyConfigInput } from 'polyphony'
import { CHAOS_INPUT, CHAOS_USER } from './chaos-flows.ts'

/** What the parent process asks of a worker. */
export type WorkerRequest =
  | { readonly type: 'run'; readonly run: string; readonly definition: FlowDefinitionInput }
  | { readonly type: 'execute'; readonly run: string; readonly definition: FlowDefinitionInput }
  | { readonly type: 'start'; readonly run: string; readonly flowId: string }
  | { readonly type: 'cancel'; readonly run: string; readonly flowId: string }
  | { readonly type: 'rest'; readonly run: string }
  | { readonly type: 'follow'; readonly run: string; readonly flowId: string }
  | { readonly type: 'read'; readonly run: string; readonly flowId: string }

/**
 * What a worker reports: it is open, a flow is created, started, completed or cancelled, no flow runs in it, the result of
 * a step of a followed flow is stored, a followed flow has ended, the outputs of a flow as they were read, or a request
 * failed.
 */
export interface WorkerReport {
  readonly type:
    | 'open'
    | 'created'
    | 'started'
    | 'completed'
    | 'cancelled'
    | 'resting'
    | 'recorded'
    | 'ended'
    | 'outputs'
    | 'failed'
  readonly run?: string
  readonly flowId?: string
  readonly step?: string
  readonly outputs?: Readonly<Record<string, string | undefined>>
  readonly message?: string
}

/** `<configuration as JSON>`: runs flows, resumes those of dead processes, hands its own over on SIGTERM. */
const config: PolyphonyConfigInput = JSON.parse(process.argv[2] ?? '{}')
const REST_POLL_MS = 20
const report = (message: WorkerReport) => void process.send?.(message)

const polyphony = await createPolyphony(config, { env: {}, cwd: '/nonexistent' })
const { orchestrator, conversations } = polyphony
await polyphony.resumeInterrupted()
polyphony.startBackgroundWork()

const options = { input: CHAOS_INPUT, streaming: true, saveMessages: true, resumeAfterCrash: true } as const

async function start(run: string, flowId: string): Promise<void> {
  await orchestrator.startFlow(flowId, CHAOS_USER, options)
  report({ type: 'started', run, flowId })
}

/** A stream of updates delivers only what is stored. */
async function follow(run: string, flowId: string): Promise<void> {
  for await (const { type, stepId } of orchestrator.streamFlow(flowId, CHAOS_USER)) {
    if (type === 'step_complete') report({ type: 'recorded', run, flowId, step: stepId })
    if (type === 'flow_complete') report({ type: 'ended', run, flowId })
  }
}

async function read(run: string, flowId: string): Promise<void> {
  const { stepResults } = await orchestrator.getFlow(flowId, CHAOS_USER)
  const successes = stepResults.filter(({ status }) => status === 'SUCCESS')
  report({ type: 'outputs', run, flowId, outputs: Object.fromEntries(successes.map(({ stepId, output }) => [stepId, output])) })
}

async function handle(request: WorkerRequest): Promise<void> {
  if (request.type === 'run' || request.type === 'execute') {
    const { id: threadId } = await conversations.createThread(CHAOS_USER)
    const flow = await orchestrator.createFlow(threadId, CHAOS_USER, request.definition)
    report({ type: 'created', run: request.run, flowId: flow.id })
    if (request.type === 'run') return start(request.run, flow.id)
    await orchestrator.executeFlow(flow.id, CHAOS_USER, options)
    return report({ type: 'completed', run: request.run, flowId: flow.id })
  }
  if (request.type === 'start') return start(request.run, request.flowId)
  if (request.type === 'follow') return follow(request.run, request.flowId)
  if (request.type === 'read') return read(request.run, request.flowId)
  if (request.type === 'rest') {
    while ((await polyphony.engineHealth()).running > 0) await sleep(REST_POLL_MS)
    return report({ type: 'resting', run: request.run })
  }
  await orchestrator.cancelFlow(request.flowId, CHAOS_USER)
  report({ type: 'cancelled', run: request.run, flowId: request.flowId })
}

process.on('message', (request: WorkerRequest) => {
  handle(request).catch((error: unknown) =>
    report({ type: 'failed', run: request.run, message: error instanceof Error ? error.message : String(error) }),
  )
})
process.on('SIGTERM', () => void polyphony.close({ handOver: true }).then(() => process.exit()))
// The parent may be killed without notice.
process.on('disconnect', () => process.exit())
report({ type: 'open' })
