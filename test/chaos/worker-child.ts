import { createPolyphony, type FlowDefinitionInput, type PolyphonyConfigInput } from 'polyphony'
import { CHAOS_INPUT, CHAOS_USER } from './chaos-flows.ts'

/** What the parent process asks of a worker. */
export type WorkerRequest =
  | { readonly type: 'run'; readonly run: string; readonly definition: FlowDefinitionInput }
  | { readonly type: 'execute'; readonly run: string; readonly definition: FlowDefinitionInput }
  | { readonly type: 'start'; readonly run: string; readonly flowId: string }
  | { readonly type: 'cancel'; readonly run: string; readonly flowId: string }

/** What a worker reports: it is open, a flow is created, is started, is completed, is cancelled, or a request failed. */
export interface WorkerReport {
  readonly type: 'open' | 'created' | 'started' | 'completed' | 'cancelled' | 'failed'
  readonly run?: string
  readonly flowId?: string
  readonly message?: string
}

/** `<configuration as JSON>`: runs flows, resumes those of dead processes, hands its own over on SIGTERM. */
const config: PolyphonyConfigInput = JSON.parse(process.argv[2] ?? '{}')
const report = (message: WorkerReport) => void process.send?.(message)

const polyphony = await createPolyphony(config, { env: {}, cwd: '/nonexistent' })
const { orchestrator, conversations } = polyphony
const { id: threadId } = await conversations.createThread(CHAOS_USER)
await polyphony.resumeInterrupted()
polyphony.startBackgroundWork()

const options = { input: CHAOS_INPUT, streaming: true, resumeAfterCrash: true } as const

async function start(run: string, flowId: string): Promise<void> {
  await orchestrator.startFlow(flowId, CHAOS_USER, options)
  report({ type: 'started', run, flowId })
}

async function handle(request: WorkerRequest): Promise<void> {
  if (request.type === 'run' || request.type === 'execute') {
    const flow = await orchestrator.createFlow(threadId, CHAOS_USER, request.definition)
    report({ type: 'created', run: request.run, flowId: flow.id })
    if (request.type === 'run') return start(request.run, flow.id)
    await orchestrator.executeFlow(flow.id, CHAOS_USER, options)
    return report({ type: 'completed', run: request.run, flowId: flow.id })
  }
  if (request.type === 'start') return start(request.run, request.flowId)
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
