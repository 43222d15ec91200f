import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ServiceReport } from '../../../services/service.ts'
import { defineCommand, jsonOption } from '../../command.ts'
import { untilStopped } from '../../control/stop-signal.ts'
import { toPlainText } from '../../plain-text.ts'
import type { CommandContext, OpenServices } from '../../services.ts'

const COMPARE_EVERY_MS = 100
const MAX_LINES = 10_000

/** `polyphony services run`: one service in the foreground, for people who write its file. */
export const runServiceCommand = defineCommand({
  group: 'services',
  name: 'run',
  description: 'run the service of one file in the foreground and print its output, until it ends or SIGINT',
  configure: (command) => command.argument('<file>', 'service file').addOption(jsonOption()),
  async run(context, _, file) {
    const service = await readService(file)
    // A folder of its own, so that a server may supervise the same service meanwhile.
    const dataDir = mkdtempSync(join(tmpdir(), 'polyphony-run-'))
    await untilStopped(async (signal) => {
      const open = await context.services.open({ database: 'memory://', takesFlows: false, services: { dataDir, dir: dataDir } })
      try {
        await open.services.register({ ...service, start: 'manual', restart: { ...service.restart, when: 'never' } })
        assertSuccess(await follow(context, open, service.id, signal), signal)
      } finally {
        await open.close()
        rmSync(dataDir, { recursive: true, force: true })
      }
    })
  },
})

async function readService(file: string) {
  const { serviceFilesInvalid } = await import('../../../config/services/service-file.ts')
  const { readServiceFile } = await import('../../../config/services/service-files.ts')
  const { service, problems } = await readServiceFile(file)
  if (problems) throw serviceFilesInvalid(problems)
  return service
}

/** Prints output and states until the service has ended. Resolves with its last state. */
async function follow(
  { terminal, json }: CommandContext,
  { services }: OpenServices,
  id: string,
  signal: AbortSignal,
): Promise<ServiceReport> {
  const logEnd = new AbortController()
  let shown = ''
  let printing: Promise<void> | undefined
  const print = async (isContinued: boolean) => {
    for await (const { text } of services.logs(id, { lines: MAX_LINES, follow: isContinued, signal: logEnd.signal })) {
      if (json) terminal.printJson({ type: 'line', text })
      else terminal.print(toPlainText(text))
    }
  }
  services.start(id).catch(() => undefined)
  signal.addEventListener('abort', () => void services.stop(id).catch(() => undefined), { once: true })
  try {
    for (; ; await sleep(COMPARE_EVERY_MS)) {
      const report = services.get(id)
      if (report.state !== shown) {
        shown = report.state
        if (json) terminal.printJson({ type: 'state', service: report })
        else terminal.warn(`${id}: ${report.state}`)
      }
      if (report.process) printing ??= print(true)
      if ((report.state === 'idle' || report.state === 'failed') && (report.lastExit || report.lastError)) return report
    }
  } finally {
    // A program may have ended between two comparisons.
    if (!printing) await print(false)
    logEnd.abort()
    await printing?.catch(() => undefined)
  }
}

function assertSuccess({ id, lastExit, lastError }: ServiceReport, signal: AbortSignal): void {
  if (signal.aborted) return
  if (lastError) throw new OrchestratorError(lastError.code, lastError.message, { details: { service: id } })
  if (lastExit && lastExit.reason !== 'completed' && lastExit.reason !== 'stopped') {
    const how = lastExit.signal ?? `code ${lastExit.code ?? 'unknown'}`
    throw new OrchestratorError('SERVICE_START_FAILED', `"${id}" ended with ${how}`, { details: { service: id } })
  }
}
