import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { addSlotSql } from '../../src/engines/bullmq/add-slot-sql.ts'
import { migrateBullmq, openBullmqPool } from '../../src/engines/bullmq/postgres-schema.ts'
import { createRedisSlots } from '../../src/engines/bullmq/redis-slots.ts'
import { openStore } from '../../src/repositories/database.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { answerWell, WIRES } from '../faults/vendor-wires.ts'
import { until } from './flows.ts'
import { createLoopback } from './loopback.ts'
import { openTestPolyphony } from './polyphony.ts'
import { openTestPostgres } from './postgres.ts'
import { clearRedis } from './redis.ts'

/** One call that arrived at the provider. */
export interface ProviderCall {
  readonly flow: string
  readonly step: string
  readonly atMs: number
  /** When the connection ended or the answer was complete. */
  endedMs?: number
  answered: boolean
}

export interface WorkerProcess {
  /** Resolves when the process hands over because of SIGTERM. */
  closing(): Promise<void>
  /** Sends a signal; with SIGKILL and SIGTERM resolves when the process has ended. */
  signal(name: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
}

export interface FleetOptions {
  readonly lockMs: number
  readonly stalledMs: number
  readonly concurrency?: number
  /** Milliseconds until the provider answers a step. */
  readonly stepMs: number
  readonly redisUrl?: string
  /** Milliseconds that a worker waits for its steps on SIGTERM. */
  readonly graceMs?: number
}

/** Workers in processes of their own over one database, and a provider that logs every call. */
export async function openWorkerFleet(options: FleetOptions) {
  const { lockMs, stalledMs, stepMs, concurrency = 20, redisUrl, graceMs } = options
  const queue = `polyphony-test-${randomBytes(6).toString('hex')}`
  const postgres = await openTestPostgres()
  const pool = openBullmqPool({ connectionString: postgres.url })
  await migrateBullmq(pool)
  const calls: ProviderCall[] = []
  /** Calls of this step are answered on demand. */
  let held: string | undefined
  const waiting: (() => void)[] = []
  const provider = await createLoopback(({ path, text, body, response }) => {
    const [, flow = '', step = ''] = /FLOW\(([^)]*)\)STEP\(([^)]*)\)/.exec(text) ?? []
    const call: ProviderCall = { flow, step, atMs: Date.now(), answered: false }
    calls.push(call)
    response.once('close', () => {
      call.endedMs = Date.now()
    })
    const [wire] = WIRES
    if (!wire) throw new Error('Expected a wire.')
    const answer = () => {
      if (response.destroyed) return
      call.answered = true
      answerWell(wire, wire.isStreamed(path, body), response, `answer to ${step}`)
    }
    if (step === held) waiting.push(answer)
    else setTimeout(answer, stepMs)
  })
  const store = await openStore({ url: postgres.url, ...(redisUrl === undefined && { addJob: addSlotSql(queue) }) })
  const bare = await openStore({ url: postgres.url })
  const slots =
    redisUrl === undefined
      ? undefined
      : createRedisSlots({ queueName: queue, url: redisUrl, prefix: queue, onError: () => undefined })
  const children = new Set<ChildProcess>()

  const providers = { desk: { kind: 'openai-compatible', baseUrl: `${provider.url}/desk`, apiKey: 'sk-key' } } as const
  const config: PolyphonyConfigInput = {
    database: postgres.url,
    bullmq: { lockMs, stalledMs, concurrency, queue },
    providers,
    ...(redisUrl !== undefined && { redisUrl }),
  }

  async function startWorker(): Promise<WorkerProcess> {
    const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
    const script = fileURLToPath(new URL('../engines/bullmq/worker-child.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', loader, script, JSON.stringify(config), String(graceMs ?? 0)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.add(child)
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    void ended.then(() => children.delete(child))
    const lines = createInterface(child.stdout)
    const told = (word: string) =>
      new Promise<void>((resolve, reject) => {
        lines.on('line', (line) => line === word && resolve())
        child.once('exit', (code) => reject(new Error(`The worker ended with ${code}.`)))
      })
    const closing = told('closing')
    closing.catch(() => undefined)
    await told('ready')
    return {
      closing: () => closing,
      async signal(name) {
        child.kill(name)
        if (name === 'SIGKILL' || name === 'SIGTERM') await ended
      },
    }
  }

  return {
    calls,
    store,
    /** Statements against the tables of BullMQ. */
    bullmq: pool,
    queue,
    postgresUrl: postgres.url,
    startWorker,
    /** Answers no call of the step until `release`. */
    hold(step: string) {
      held = step
    },
    release() {
      held = undefined
      for (const answer of waiting.splice(0)) answer()
    },
    /** Creates sequential flows of so many steps, `s1` first. */
    async createFlows(count: number, steps: number): Promise<readonly string[]> {
      // Open only for that time: its engine would mark flows of dead processes.
      const creator = await openTestPolyphony({ database: postgres.url, providers })
      const { id: threadId } = await creator.conversations.createThread('ada')
      const flowIds: string[] = []
      for (let made = 0; made < count; made++) {
        const name = randomBytes(4).toString('hex')
        const flow = await creator.orchestrator.createFlow(threadId, 'ada', {
          name,
          type: 'sequential',
          steps: Array.from({ length: steps }, (_, index) => ({
            id: `s${index + 1}`,
            model: 'desk/m',
            action: 'generate' as const,
            prompt: `FLOW(${name})STEP(s${index + 1})`,
          })),
        })
        names.set(flow.id, name)
        flowIds.push(flow.id)
      }
      await creator.close()
      return flowIds
    },
    async start(flowId: string): Promise<void> {
      await start(store, flowId)
      await slots?.add()
    },
    /** Starts a flow as if its slot had been lost at once. */
    async startWithoutSlot(flowId: string): Promise<void> {
      await start(bare, flowId)
    },
    /** Makes every slot disappear, those of running flows as well. */
    async emptyQueue(): Promise<void> {
      if (redisUrl === undefined) await pool.query('truncate job cascade')
      else await clearRedis(redisUrl, queue)
    },
    callsOf: (flowId: string, step?: string) =>
      calls.filter((call) => call.flow === names.get(flowId) && (step === undefined || call.step === step)),
    async results(flowId: string): Promise<readonly StepResult[]> {
      return store.flows.stepResults(flowId)
    },
    /** Resolves when the flow is settled, with its status. */
    async ended(flowId: string): Promise<string> {
      let status = ''
      await until(async () => {
        status = (await store.flows.find(flowId))?.status ?? 'missing'
        if (status !== 'RUNNING' && status !== 'PENDING') return true
        await new Promise((resolve) => setTimeout(resolve, 20))
        return false
      })
      return status
    },
    async close(): Promise<void> {
      for (const child of children) child.kill('SIGKILL')
      await slots?.close()
      await store.close()
      await bare.close()
      await pool.end()
      await provider.close()
      await postgres.drop()
      if (redisUrl !== undefined) await clearRedis(redisUrl, queue)
    },
  }
}

const names = new Map<string, string>()

async function start({ journal }: Store, flowId: string): Promise<void> {
  await journal.enqueue({ flowId, from: ['PENDING'], startedAt: new Date(), input: 'go', runOptions: {} })
}

export type WorkerFleet = Awaited<ReturnType<typeof openWorkerFleet>>
