import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { type CallLog, createCallLog, type LoggedCall } from '../chaos/call-log.ts'
import { CHAOS_USER, lineOf } from '../chaos/chaos-flows.ts'
import { OutcomeReader } from '../chaos/stored-outcomes.ts'
import { until } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { type CommandLine, type CommandLineResult, createCommandLine } from './command-line.ts'

const STEPS = ['s1', 's2', 's3']
/** Guards against hanging only: a test starts up to four processes, one after the other. */
const TIMEOUT = { timeout: 300_000 }

let postgres: TestPostgres
let commandLine: CommandLine
let provider: CallLog
let outcomes: OutcomeReader
/** Starts flows and runs none. */
let starter: Polyphony
let answerMs = 50
let onRequest: (call: LoggedCall) => void = () => {}
const started: { readonly pid: number; readonly ended: Promise<CommandLineResult> }[] = []

beforeAll(async () => {
  postgres = await openTestPostgres()
  outcomes = new OutcomeReader(postgres.url)
  provider = await createCallLog({
    answerMs: () => answerMs,
    onMoment: (moment, call) => void (moment === 'requested' && onRequest(call)),
  })
  const providers = { desk: { kind: 'openai-compatible', baseUrl: provider.url, apiKey: 'sk-key' } } as const
  const bullmq = { lockMs: 5_000, stalledMs: 2_000 }
  commandLine = createCommandLine()
  // JSON is YAML.
  writeFileSync(join(commandLine.directory, 'polyphony.yaml'), JSON.stringify({ engine: 'bullmq', bullmq, providers }))
  starter = await openTestPolyphony({ database: postgres.url, engine: 'bullmq', takesFlows: false, bullmq, providers })
})
beforeEach(() => {
  answerMs = 50
  onRequest = () => {}
})
afterEach(async () => {
  for (const { pid } of started) if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  await Promise.all(started.splice(0).map(({ ended }) => ended))
})
afterAll(async () => {
  await starter.close()
  await Promise.all([provider.close(), outcomes.close()])
  await postgres.drop()
  commandLine.remove()
})

interface StartOptions {
  readonly onOutput?: (stdout: string, pid: number) => void
  readonly onLog?: (stderr: string) => void
  readonly env?: Readonly<Record<string, string>>
}

/** Starts a command and resolves when it has printed its first line. */
async function start(words: readonly string[], { onOutput, onLog, env = {} }: StartOptions = {}) {
  return new Promise<{ readonly pid: number; readonly line: string; readonly ended: Promise<CommandLineResult> }>(
    (resolve, reject) => {
      const ended = commandLine.run(words, {
        env: { DATABASE_URL: postgres.url, POLYPHONY_TAKES_FLOWS: 'false', ...env },
        ...(onLog && { onLog }),
        onOutput(stdout, pid) {
          onOutput?.(stdout, pid)
          if (!stdout.includes('\n')) return
          started.push({ pid, ended })
          resolve({ pid, line: stdout.split('\n')[0] ?? '', ended })
        },
      })
      void ended.then(({ stderr }) => reject(new Error(`ended before its first line: ${stderr}`)))
    },
  )
}

async function startFlow(definition: FlowDefinitionInput): Promise<{ readonly id: string; readonly ended: Promise<unknown> }> {
  const { orchestrator, conversations } = starter
  const { id: threadId } = await conversations.createThread(CHAOS_USER)
  const { id } = await orchestrator.createFlow(threadId, CHAOS_USER, definition)
  return { id, ended: orchestrator.executeFlow(id, CHAOS_USER, { input: 'go', streaming: true }) }
}

/** A definition with functions that the starter has registered, and a module that registers it elsewhere. */
function codedFlow(run: string) {
  const line = lineOf(run, 3)
  const module = `${run}.mjs`
  writeFileSync(
    join(commandLine.directory, module),
    `const line = ${JSON.stringify(line)}
export default ({ orchestrator }) =>
  orchestrator.registerFlow({ ...line, version: '1', steps: line.steps.map((step) => ({ ...step, prompt: () => 'from a function' })) })`,
  )
  const coded = { ...line, version: '1', steps: line.steps.map((step) => ({ ...step, prompt: () => 'from a function' })) }
  // The process that starts a flow registers its definition too, so that the flow waits for any worker that has it.
  starter.orchestrator.registerFlow(coded)
  return { coded, module }
}

const callsOf = (run: string) => STEPS.map((step) => provider.callsOf(run, step).length)
const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test(
  'a worker runs at most as many flows as it is told, and after SIGTERM another one continues without a repeated call',
  TIMEOUT,
  async () => {
    const worker = await start(['worker', '--concurrency', '2', '--json'])
    expect(JSON.parse(worker.line)).toMatchObject({ type: 'working', engine: 'bullmq', ok: true, queued: 0 })
    let most = 0
    onRequest = () => {
      const open = provider.calls.filter(({ answeredAtMs, closedAtMs }) => answeredAtMs === undefined && closedAtMs === undefined)
      most = Math.max(most, open.length)
    }
    const flows = await Promise.all(['a', 'b', 'c', 'd'].map((run) => startFlow(lineOf(run, 3))))
    await Promise.all(flows.map(({ ended }) => ended))
    expect(most).toBeLessThanOrEqual(2)

    answerMs = 400
    const second = await start(['worker', '--json'])
    onRequest = ({ step }) => {
      if (step === 's2') void findOwner(handed.id).then((pid) => process.kill(pid, 'SIGTERM'))
    }
    const handed = await startFlow(lineOf('e', 3))
    await handed.ended
    expect(callsOf('e')).toEqual([1, 1, 1])
    onRequest = () => {}
    await until(() => [worker, second].filter(({ pid }) => isRunning(pid)).length === 1)
    for (const { pid, ended } of [worker, second]) {
      if (isRunning(pid)) process.kill(pid, 'SIGTERM')
      const { exitCode, lines } = await ended
      expect(exitCode).toBe(0)
      expect(JSON.parse(lines.at(-1) ?? '')).toEqual({ type: 'closed' })
    }
  },
)

test(
  'a worker runs definitions with functions that a module registers, and ends at once on a second signal',
  TIMEOUT,
  async () => {
    const { coded, module } = codedFlow('coded')
    const worker = await start(['worker', '--register', module], {
      onOutput(stdout, pid) {
        if (stdout.includes('Closing') && isRunning(pid)) process.kill(pid, 'SIGTERM')
      },
    })
    const { ended } = await startFlow(coded)
    await ended
    expect(callsOf('coded')).toEqual([1, 1, 1])

    answerMs = 60_000
    const called = new Promise<void>((resolve) => {
      onRequest = () => resolve()
    })
    const held = await startFlow(lineOf('held', 1))
    held.ended.then(
      () => undefined,
      () => undefined,
    )
    await called
    process.kill(worker.pid, 'SIGTERM')
    expect((await worker.ended).exitCode).toBe(1)
    await starter.orchestrator.cancelFlow(held.id, CHAOS_USER)
  },
)

test('a server with workers restarts one that died, reports its queue, and ends them with itself', TIMEOUT, async () => {
  const server = await start(['serve', '--port', '0', '--workers', '1', '--json'])
  const { url } = JSON.parse(server.line)
  answerMs = 400
  const killed = new Promise<number>((resolve) => {
    onRequest = ({ step }) => {
      if (step !== 's2') return
      onRequest = () => {}
      void findOwner(flow.id).then((pid) => {
        process.kill(pid, 'SIGKILL')
        resolve(pid)
      })
    }
  })
  const flow = await startFlow(lineOf('served', 3))
  const dead = await killed
  expect(dead).not.toBe(server.pid)
  const health = await (await fetch(`${url}/health`)).json()
  expect(health).toMatchObject({
    status: 'healthy',
    engine: { engine: 'bullmq', ok: true, running: 0, queued: expect.any(Number) },
  })
  await flow.ended
  expect(callsOf('served')).toEqual([1, 2, 1])
  answerMs = 1_000
  const last = await startFlow(lineOf('last', 1))
  const living = await findOwner(last.id)
  expect(living).not.toBe(dead)
  await last.ended
  process.kill(server.pid, 'SIGTERM')
  expect((await server.ended).exitCode).toBe(0)
  expect(isRunning(living)).toBe(false)
})

test(
  'a worker answers probes, and names what it cannot run; a server and its workers run what --register names',
  TIMEOUT,
  async () => {
    const { coded, module } = codedFlow('probed')
    const first = await start(['serve', '--port', '0', '--register', module, '--json'])
    const { url } = JSON.parse(first.line)
    const flow = await startFlow(coded)
    const engineAt = async (probe: string) => toAnswer(await (await fetch(probe)).json()).engine
    await until(async () => (await engineAt(`${url}/health`)).queued === 1)
    expect((await engineAt(`${url}/health`)).unrunnable).toEqual([])

    let onLog: (stderr: string) => void = () => {}
    const logged = new Promise<string>((resolve) => {
      onLog = (stderr) => {
        const [, line] = /^(.*are left to other processes.*)\n/m.exec(stderr) ?? []
        if (line !== undefined) resolve(line)
      }
    })
    const idle = await start(['worker', '--health-port', '0', '--json'], { onLog })
    const { healthUrl } = JSON.parse(idle.line)
    const response = await fetch(healthUrl)
    expect(response.status).toBe(200)
    const body = toAnswer(await response.json())
    expect(body).toMatchObject({
      status: 'healthy',
      database: 'up',
      engine: { engine: 'bullmq', ok: true, running: 0, queued: 1 },
    })
    expect(body.engine.unrunnable).toEqual([{ name: coded.name, version: '1', flows: 1 }])
    expect(JSON.parse(await logged)).toMatchObject({ level: 'warn', definitions: [`${coded.name}@1`] })
    process.kill(idle.pid, 'SIGTERM')
    expect((await idle.ended).exitCode).toBe(0)
    await expect(fetch(healthUrl)).rejects.toThrow()

    // The workers that a server starts do not share the configured port, which is taken here.
    const env = { POLYPHONY_HEALTH_PORT: new URL(url).port }
    const second = await start(['serve', '--port', '0', '--workers', '1', '--register', module, '--json'], { env })
    await flow.ended
    process.kill(second.pid, 'SIGTERM')
    expect((await second.ended).exitCode).toBe(0)
    expect(callsOf('probed')).toEqual([1, 1, 1])
  },
)

const toAnswer = (body: unknown) => body as { readonly engine: { readonly queued: number; readonly unrunnable: unknown } }

async function findOwner(flowId: string): Promise<number> {
  let pid: number | undefined
  await until(async () => {
    pid = await outcomes.ownerPid(flowId)
    return pid !== undefined
  })
  return pid ?? 0
}
