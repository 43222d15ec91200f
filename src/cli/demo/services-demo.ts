import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PolyphonyConfigInput } from '../../config/config.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { formatDuration } from '../amounts.ts'
import { type CommandContext, DEMO_USER, type OpenServices } from '../services.ts'
import { MODEL_SERVER } from './model-server.ts'

const WRITERS = ['writer-1', 'writer-2'] as const
const [VICTIM] = WRITERS
const DRAFTS = 6

/** `polyphony demo services`: one of two supervised model servers is killed in the middle of a flow over their pool. */
export async function runServicesDemo(context: CommandContext): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'polyphony-demo-'))
  const interrupted = new AbortController()
  const interrupt = () => {
    interrupted.abort(new OrchestratorError('FLOW_CANCELLED', 'the demo was interrupted; its servers are ended'))
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  let open: OpenServices | undefined
  try {
    open = await context.services.open(await writeServices(folder))
    await show(context, open, interrupted.signal)
  } finally {
    await open?.close()
    await rm(folder, { recursive: true, force: true })
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
  if (!context.json) context.terminal.print('\nBoth servers are ended and the temporary folder is removed.')
}

/** Writes the program and its two service files; returns the configuration that uses them. */
async function writeServices(folder: string): Promise<PolyphonyConfigInput> {
  const dir = join(folder, 'services')
  const program = join(folder, 'model-server.mjs')
  // Service files of a folder that others may write are refused, whatever the umask is.
  await mkdir(dir, { mode: 0o700 })
  await writeFile(program, MODEL_SERVER)
  for (const id of WRITERS) {
    const service = {
      id,
      type: 'llm',
      executable: [process.execPath, program],
      port: 'auto',
      endpoint: 'http://127.0.0.1:{{port}}',
      health: { url: '{{endpoint}}/health', startIntervalMs: 50 },
      restart: { delayMs: 500 },
      environment: { NAME: id, CHUNK_MS: '40', WORDS: '40' },
      provider: { kind: 'openai-compatible', path: '/v1', models: ['small'], inHouse: true },
    }
    await writeFile(join(dir, `${id}.json`), JSON.stringify(service), { mode: 0o600 })
  }
  return {
    database: 'memory://',
    // The death of the server is shown.
    logLevel: 'error',
    services: { dir, dataDir: join(folder, 'data') },
    pools: { writers: { members: WRITERS.map((id) => ({ model: `${id}/small` })), strategy: 'least_connections' } },
  }
}

const DEFINITION: FlowDefinitionInput = {
  name: 'Drafts over a pool',
  type: 'parallel',
  steps: Array.from({ length: DRAFTS }, (_, index) => ({
    id: `draft-${index + 1}`,
    model: 'pool/writers',
    action: 'generate' as const,
    maxRetries: 5,
    fallbackAfterFirstToken: true,
  })),
}

async function show({ terminal, json }: CommandContext, open: OpenServices, signal: AbortSignal): Promise<void> {
  const { services, conversations, orchestrator } = open
  const say = (text: string) => (json ? undefined : terminal.print(text))
  const startedAtMs = performance.now()
  const reports = await services.startAll()
  const failed = reports.find(({ state }) => state !== 'running')
  if (failed)
    throw new OrchestratorError('SERVICE_START_FAILED', `"${failed.id}" is ${failed.state}: ${failed.lastError?.message ?? ''}`)
  say(`Two model servers run after ${formatDuration(performance.now() - startedAtMs)}:`)
  for (const { id, process: running, endpoint } of reports) say(`  ${id}  process ${running?.pid}  ${endpoint}`)

  const thread = await conversations.createThread(DEMO_USER, { title: 'Demo of services' })
  const flow = await orchestrator.createFlow(thread.id, DEMO_USER, DEFINITION)
  say(`\nA flow asks pool/writers for ${DRAFTS} drafts at once, streamed.`)
  const running = orchestrator.executeFlow(flow.id, DEMO_USER, { input: 'Write a draft.', streaming: true, signal })
  const lost = killInTheMiddle(open, signal).then((calls) => {
    say(`${VICTIM} was killed with SIGKILL while it wrote ${calls} of them.`)
    return { calls, atMs: performance.now() }
  })
  // The flow decides: without it there is nothing to kill.
  lost.catch(() => undefined)
  const result = await running
  const { calls, atMs } = await lost
  showDrafts(result, say)

  await until(() => services.get(VICTIM).state === 'running', signal)
  const { process: again, restarts } = services.get(VICTIM)
  const backAfterMs = Math.max(0, (again?.startedAt.getTime() ?? 0) - (Date.now() - (performance.now() - atMs)))
  say(`\n${VICTIM} was started again after ${formatDuration(backAfterMs)}, as process ${again?.pid}.`)
  const attempts = result.steps.flatMap((step) => step.attempts)
  const costUsd = attempts.reduce((sum, { cost = 0 }) => sum + cost, 0)
  say(`${result.steps.length} of ${DRAFTS} drafts are complete after ${attempts.length} calls; they cost ${costUsd} US dollars.`)
  if (json) {
    terminal.printJson({
      status: result.status,
      drafts: result.steps.length,
      lost: calls,
      attempts: attempts.length,
      restarts,
      costUsd,
    })
  }
}

/** Waits until the server writes, and kills its process; resolves with the calls that are lost. */
async function killInTheMiddle({ services }: OpenServices, signal: AbortSignal): Promise<number> {
  await until(() => services.get(VICTIM).inFlight >= DRAFTS / 2, signal)
  await sleep(300, undefined, { signal })
  const { process: running, inFlight } = services.get(VICTIM)
  if (running) process.kill(running.pid, 'SIGKILL')
  return inFlight
}

function showDrafts({ steps }: FlowExecutionResult, say: (text: string) => void): void {
  for (const { stepId, provider, attempts, executionTime } of steps) {
    const before = attempts.filter(({ error }) => error).map((attempt) => `${attempt.provider}: ${attempt.error?.code}`)
    const detour = before.length === 0 ? '' : `, after ${before.join(', ')}`
    say(`  ${stepId}  ${provider}  ${formatDuration(executionTime)}${detour}`)
  }
}

async function until(isReached: () => boolean, signal: AbortSignal): Promise<void> {
  for (const endsAtMs = performance.now() + 30_000; !isReached(); ) {
    if (performance.now() > endsAtMs) throw new OrchestratorError('INTERNAL', 'Expected the servers to run within 30 s')
    await sleep(20, undefined, { signal })
  }
}
