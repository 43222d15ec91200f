import { InvalidArgumentError } from 'commander'
import type { OrchestrationFlowSummary } from '../../../domain/execution/flow.ts'
import { FlowStatus } from '../../../domain/vocabulary.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { formatDuration, formatTotalCost } from '../../amounts.ts'
import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { toMinute, toPlainLine, toTable, truncate } from '../../plain-text.ts'
import { type DatabaseOptions, DEMO_USER, LOCAL_USER, type OpenServices, toFlags, withServices } from '../../services.ts'

interface ListFlowsOptions extends DatabaseOptions {
  readonly limit: number
  readonly status?: string
  readonly thread?: string
}

/** `polyphony flows list`: flows of the local user and of the demo. */
export const listFlowsCommand = defineCommand<ListFlowsOptions>({
  group: 'flows',
  name: 'list',
  description: 'list stored flows, newest first',
  configure: (command) =>
    command
      .option('--limit <count>', 'maximum number of flows', parseCount, 20)
      .option('--status <status>', 'only flows with this status')
      .option('--thread <id>', 'only flows of this thread')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options) {
    const { terminal, json } = context
    const status = toStatus(options.status)
    const flows = await withServices(context, toFlags(options), (open) => findFlows(open, options, status))
    if (json) return flows.forEach(terminal.printJson)
    if (flows.length === 0) return terminal.print('No flows yet: polyphony demo creates one.')
    const head = ['FLOW', 'STATUS', 'NAME', 'STARTED', 'TIME', 'COST', 'PROMPT']
    const [first = '', ...lines] = toTable([head, ...flows.map(toListRow)])
    terminal.print(terminal.style('dim', first))
    for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
  },
})

function toStatus(given: string | undefined): FlowStatus | undefined {
  if (given === undefined) return undefined
  const all = Object.values(FlowStatus)
  const status = all.find((known) => known === given.toUpperCase())
  if (status) return status
  throw new OrchestratorError('INPUT_INVALID', `--status: expected one of ${all.join(', ')}, found "${given.slice(0, 30)}"`)
}

async function findFlows(
  { orchestrator }: OpenServices,
  { limit, thread }: ListFlowsOptions,
  status: FlowStatus | undefined,
): Promise<readonly OrchestrationFlowSummary[]> {
  if (thread !== undefined) return orchestrator.listFlows(thread, LOCAL_USER, { limit, status })
  const own = await orchestrator.listFlowsOf(LOCAL_USER, { limit, status })
  const simulated = await orchestrator.listFlowsOf(DEMO_USER, { limit, status })
  return [...own, ...simulated].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime()).slice(0, limit)
}

const PROMPT_WIDTH = 50

function toListRow(flow: OrchestrationFlowSummary): readonly string[] {
  const { result } = flow
  return [
    flow.id,
    flow.status,
    toPlainLine(flow.name),
    toMinute(flow.startedAt ?? flow.createdAt),
    result ? formatDuration(result.totalExecutionTime) : '',
    result ? formatTotalCost(result) : flow.simulated ? 'simulated' : '',
    truncate(toPlainLine(flow.inputStart ?? flow.definition.input ?? ''), PROMPT_WIDTH),
  ]
}

function parseCount(value: string): number {
  const count = Number(value)
  if (!Number.isInteger(count) || count < 1 || count > 1_000) throw new InvalidArgumentError('expected 1 to 1000.')
  return count
}
