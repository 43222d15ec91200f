import { isUnpriced, knownCost } from '../../domain/execution/cost.ts'
import type { Attempt } from '../../domain/execution/step-result.ts'
import { NO_FIGURES, type UsageFigures, type UsageQuery, type UsageRow } from '../../domain/execution/usage-report.ts'
import type { StoredFlow, UsageRepository } from '../repository.ts'
import type { FlowRecords } from './records.ts'

type Sums = { -readonly [Figure in keyof UsageFigures]: number }
type Names = Omit<UsageRow, keyof UsageFigures>

/** Sums over the attempts of all flows that are kept. */
export const createMemoryUsage = (records: Pick<FlowRecords, 'listEntries' | 'read'>): UsageRepository => ({
  sum: async (query) => {
    const sums = new Map<string, Sums & Names>()
    if (query.groupBy.length === 0) sums.set('{}', { ...NO_FIGURES })
    for (const { flow, attempt } of attemptsOf(records, query)) {
      const names = namesOf(flow, attempt, query.groupBy)
      const key = JSON.stringify(names)
      const row = sums.get(key) ?? { ...names, ...NO_FIGURES }
      sums.set(key, row)
      add(row, attempt)
    }
    const rows = [...sums.values()].sort(inOrder)
    return { rows: rows.slice(0, query.limit), truncated: rows.length > query.limit }
  },
})

function* attemptsOf(records: Pick<FlowRecords, 'listEntries' | 'read'>, { userId, from, to, flowId }: UsageQuery) {
  for (const row of records.listEntries()) {
    if (row.userId !== userId || (flowId !== undefined && row.id !== flowId)) continue
    const record = records.read(row.id)
    for (const result of record?.results?.values() ?? []) {
      for (const attempt of result.attempts) {
        if ((from && attempt.startedAt < from) || (to && attempt.startedAt >= to)) continue
        if (record) yield { flow: record.flow, attempt }
      }
    }
  }
}

const namesOf = ({ id, name }: StoredFlow, { startedAt, provider, model }: Attempt, groupBy: UsageQuery['groupBy']): Names => ({
  ...(groupBy.includes('day') && { day: startedAt.toISOString().slice(0, 10) }),
  ...(groupBy.includes('provider') && { provider }),
  ...(groupBy.includes('model') && { model }),
  ...(groupBy.includes('flow') && { flowId: id, flowName: name }),
})

function add(row: Sums, attempt: Attempt): void {
  const { simulated, usage } = attempt
  if (simulated) {
    row.simulatedCalls++
    row.simulatedTokens += usage?.totalTokens ?? 0
    return
  }
  row.costUsd += knownCost(attempt) ?? 0
  if (!usage) {
    row.failedCalls++
    return
  }
  row.calls++
  row.inputTokens += usage.inputTokens ?? 0
  row.cachedInputTokens += usage.cachedInputTokens ?? 0
  row.cacheWriteTokens += usage.cacheWriteTokens ?? 0
  row.outputTokens += usage.outputTokens ?? 0
  row.reasoningTokens += usage.reasoningTokens ?? 0
  row.totalTokens += usage.totalTokens ?? 0
  if (isUnpriced(attempt)) row.unpricedCalls++
  if (usage.totalTokens === undefined) row.uncountedCalls++
}

const inOrder = (a: UsageRow, b: UsageRow): number =>
  compare(b.day, a.day) ||
  b.costUsd - a.costUsd ||
  b.calls - a.calls ||
  compare(a.provider, b.provider) ||
  compare(a.model, b.model) ||
  compare(a.flowId, b.flowId)

const compare = (a = '', b = ''): number => (a < b ? -1 : a > b ? 1 : 0)
