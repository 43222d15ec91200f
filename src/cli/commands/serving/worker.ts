import { once } from 'node:events'
import type { PolyphonyConfigInput } from '../../../config/config.ts'
import {
  databaseOption,
  defineCommand,
  jsonOption,
  parseCount,
  parsePort,
  registerOption,
  simulateOption,
} from '../../command.ts'
import { untilStopped } from '../../control/stop-signal.ts'
import { type DatabaseOptions, toFlags } from '../../services.ts'
import { requireQueuedFlows } from '../../serving/distribution.ts'
import type { Terminal } from '../../terminal.ts'

interface WorkerOptions extends DatabaseOptions {
  readonly concurrency?: number
  readonly healthPort?: number
  readonly register?: string
  readonly simulate?: boolean
}

/** Milliseconds in which calls in flight may end after SIGTERM. */
const GRACE_MS = 10_000

/** `polyphony worker`: runs queued flows until SIGINT or SIGTERM; a second signal ends it at once. */
export const workerCommand = defineCommand<WorkerOptions>({
  name: 'worker',
  description: 'run queued flows of other processes, without a server',
  configure: (command) =>
    command
      .option('--concurrency <number>', 'flows that run at the same time', parseCount)
      .option('--health-port <number>', 'port that answers GET /health; 0 for any free port', parsePort)
      .addOption(registerOption())
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const { concurrency, healthPort, register, simulate } = options
    const flags: PolyphonyConfigInput = {
      ...toFlags(options),
      takesFlows: true,
      ...(simulate ? { simulator: true } : {}),
      ...(healthPort === undefined ? {} : { worker: { healthPort } }),
      ...(concurrency === undefined ? {} : { maxRunningFlows: { perProcess: concurrency } }),
    }
    // Without the flags above: the configuration that the processes which start flows have as well.
    requireQueuedFlows(await services.loadConfig(toFlags(options)), 'polyphony worker')
    const work = async (signal: AbortSignal) => {
      // The timers of the worker do not keep a process running.
      const alive = setInterval(() => {}, 60_000)
      try {
        const open = await services.open(flags)
        let probe: { readonly url: string; close(): Promise<void> } | undefined
        try {
          if (register !== undefined) await services.register(register, open)
          const { healthPort: port } = open.config.worker
          if (port !== undefined) probe = await services.listenForHealth(open, port)
          await open.resumeInterrupted()
          open.startBackgroundWork()
          const health = await open.engineHealth()
          if (json) terminal.printJson({ type: 'working', ...health, ...(probe && { healthUrl: probe.url }) })
          else printState(terminal, health, probe?.url)
          if (!signal.aborted) await once(signal, 'abort')
          if (!json) terminal.print('Closing: calls in flight may end; other workers continue the flows. Again to end at once.')
        } finally {
          await Promise.all([probe?.close(), open.close({ handOver: true, graceMs: GRACE_MS })])
        }
        if (json) terminal.printJson({ type: 'closed' })
      } finally {
        clearInterval(alive)
      }
    }
    await untilStopped(work, () => process.exit(1))
  },
})

function printState({ print }: Terminal, { engine, queued }: { engine: string; queued: number }, probe?: string): void {
  print(`The worker takes flows (engine ${engine}, ${queued} queued).`)
  if (probe !== undefined) print(`  ${probe}`)
}
