import type { ReportedService } from '../../protocol/service.ts'
import { formatDuration } from '../amounts.ts'
import { toPlainLine, toTable } from '../plain-text.ts'
import type { Terminal } from '../terminal.ts'

/** Prints services as a table: id, type, state, health, process and the time in the state. */
export function printServices(terminal: Terminal, services: readonly ReportedService[]): void {
  const head = ['SERVICE', 'TYPE', 'STATE', 'HEALTH', 'PID', 'RESTARTS', 'SINCE', 'PROBLEM']
  const [first = '', ...lines] = toTable([head, ...services.map(toRow)])
  terminal.print(terminal.style('dim', first))
  for (const line of lines) terminal.print(line)
}

const toRow = ({ id, type, state, health, process, restarts, since, lastError }: ReportedService): readonly string[] =>
  [
    id,
    type,
    state,
    health,
    process === undefined ? '' : String(process.pid),
    String(restarts),
    formatDuration(Math.max(0, Date.now() - since.getTime())),
    lastError === undefined || state === 'running' ? '' : lastError.code,
  ].map(toPlainLine)

/** Prints one service with everything that is known of it. */
export function printService({ print }: Terminal, service: ReportedService): void {
  const { process, lastExit, lastError, probe } = service
  const rows = [
    ['id', service.id],
    ['name', service.name],
    ['type', `${service.type} (${service.driver})`],
    ['state', `${service.state} since ${service.since.toISOString()}`],
    ['health', service.health],
    ...(probe ? [['probe', `${probe.ok ? 'good' : 'bad'}: ${probe.detail}, ${Math.round(probe.ms)} ms`]] : []),
    ...(service.endpoint === undefined ? [] : [['endpoint', service.endpoint]]),
    ...(service.elsewhere ? [['runs on', `${service.elsewhere.host}, in the process ${service.elsewhere.ownerId}`]] : []),
    ...(process
      ? [['process', `pid ${process.pid} since ${process.startedAt.toISOString()}${service.adopted ? ', adopted' : ''}`]]
      : []),
    ...(process ? [['limits', `memory ${process.limits.memory}, cpu ${process.limits.cpu}`]] : []),
    ['restarts', `${service.restarts}, ${service.attempt} failed in a row`],
    ...(service.nextStartAt ? [['next start', service.nextStartAt.toISOString()]] : []),
    ...(lastExit
      ? [
          [
            'last exit',
            `${lastExit.reason}: ${lastExit.signal ?? `code ${lastExit.code ?? 'unknown'}`} at ${lastExit.at.toISOString()}`,
          ],
        ]
      : []),
    ...(lastError ? [['last error', `${lastError.code}: ${lastError.message}`]] : []),
  ]
  for (const line of toTable(rows.map((row) => row.map(toPlainLine)))) print(line)
}
