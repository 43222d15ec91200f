import type { ScheduleReport } from '../../orchestrator/schedules/schedule-service.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { toMinute, toPlainLine, toTable, truncate } from '../plain-text.ts'
import { type DatabaseOptions, toFlags, withServices } from '../services.ts'

/** `polyphony schedules`: the schedules of the configuration with their next and last runs. */
export const schedulesCommand = defineCommand<DatabaseOptions>({
  name: 'schedules',
  description: 'list schedules with their next and last runs',
  configure: (command) => command.addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options) {
    const { terminal, json } = context
    const schedules = await withServices(context, toFlags(options), (open) => open.schedules.list())
    if (json) return schedules.forEach(terminal.printJson)
    if (schedules.length === 0) return terminal.print('No schedules: `schedules` in polyphony.yaml lists them.')
    const head = ['SCHEDULE', 'TIMING', 'FLOW', 'USER', 'NEXT', 'LAST', 'LAST FLOW']
    const [first = '', ...lines] = toTable([head, ...schedules.map(toListRow)])
    terminal.print(terminal.style('dim', first))
    for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
  },
})

const toListRow = ({
  name,
  timing,
  flow,
  userId,
  nextAt,
  lastAt,
  lastFlowId,
  lastProblem,
}: ScheduleReport): readonly string[] => [
  toPlainLine(name),
  'cron' in timing ? `${timing.cron} ${timing.timezone}` : `every ${timing.everyMs / 1_000} s`,
  toPlainLine(flow),
  toPlainLine(userId),
  nextAt ? toMinute(nextAt) : 'never',
  lastAt ? toMinute(lastAt) : 'never',
  toPlainLine(lastProblem ?? lastFlowId ?? ''),
]
