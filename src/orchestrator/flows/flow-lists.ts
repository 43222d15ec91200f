import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import type { OrchestrationFlowSummary } from '../../domain/execution/flow.ts'
import { type PageCursor, type PageOrder, parseCursor, toCursorText } from '../../domain/page-cursor.ts'
import type { FlowType } from '../../domain/vocabulary.ts'
import type { FlowRepository, ListedFlow, ListFlowsQuery, NamedFlow, StoredFlow } from '../../repositories/repository.ts'
import { type ListFlowsOptions, parseListOptions } from '../service-options.ts'
import type { FlowAccess } from './flow-access.ts'
import type { FlowDefinitions } from './flow-definitions.ts'
import { isFlowId } from './flow-id.ts'

/** One page of a list of flows. */
export interface FlowPage {
  readonly flows: readonly OrchestrationFlowSummary[]
  /** `cursor` of the next page, in the same order; absent on the last one. */
  readonly nextCursor?: string
}

/** A flow that can be created again by its name. */
export interface SavedFlow {
  readonly name: string
  /** The newest flow of that name. */
  readonly flowId: string
  readonly createdAt: Date
  readonly description?: string
  readonly flowType: FlowType
  /** Whether createFlow accepts the definition. */
  readonly definition: FlowDefinition
}

/** The name of a saved flow, without its definition. */
export type SavedFlowName = Pick<SavedFlow, 'name' | 'flowId' | 'createdAt'>

export interface FlowListDeps {
  readonly flows: FlowRepository
  readonly access: FlowAccess
  readonly definitions: FlowDefinitions
}

const MAX_SAVED_FLOWS = 1_000
/**
 * Maximum number of newer flows of the name that are passed over because the user may no longer read their threads.
 * Beyond it the flow counts as not found.
 */
const MAX_UNREADABLE_THREADS = 20

type SortBy = ListFlowsQuery['sortBy']

const SORTED_BY: { readonly [Column in SortBy]: PageOrder['by'] } = { createdAt: 'instant', completedAt: 'instant', name: 'text' }
const VALUE_OF: { readonly [Column in SortBy]: (flow: ListedFlow) => PageCursor['value'] } = {
  createdAt: ({ createdAt }) => createdAt,
  completedAt: ({ completedAt }) => completedAt ?? null,
  name: ({ name }) => name,
}

const orderOf = ({ sortBy, sortOrder }: Pick<ListFlowsQuery, 'sortBy' | 'sortOrder'>): PageOrder => ({
  name: `flows by ${sortBy} ${sortOrder}`,
  by: SORTED_BY[sortBy],
})

/** Lists of flows that the caller may read. */
export function createFlowLists({ flows, access, definitions }: FlowListDeps) {
  /** The flows that the user may still read. */
  async function readable<Flow extends { readonly threadId: string }>(userId: string, found: readonly Flow[]): Promise<Flow[]> {
    const allowed = await Promise.all(found.map(({ threadId }) => access.canRead(threadId, userId)))
    return found.filter((_, index) => allowed[index])
  }

  async function findNewest(userId: string, name: string): Promise<StoredFlow | undefined> {
    const unreadable: string[] = []
    while (unreadable.length <= MAX_UNREADABLE_THREADS) {
      const flow = await flows.findNewestByName(userId, name, unreadable)
      if (!flow || (await access.canRead(flow.threadId, userId))) return flow
      unreadable.push(flow.threadId)
    }
    return undefined
  }

  return {
    /** One page of the flows of a thread, or of those that the user created in any thread. */
    async page(
      userId: string,
      options: ListFlowsOptions,
      threadId?: string,
    ): Promise<{ readonly flows: readonly ListedFlow[]; readonly nextCursor?: string }> {
      const { cursor, ...query } = parseListOptions(options)
      const order = orderOf(query)
      const after = cursor === undefined ? undefined : parseCursor(order, cursor, isFlowId)
      if (threadId === undefined) access.assertUser(userId)
      else await access.requireOnThread(threadId, userId, 'read')
      // One flow more than requested shows whether there is a next page.
      const found = await flows.list({
        ...query,
        ...(threadId === undefined ? { userId } : { threadId }),
        after,
        limit: query.limit + 1,
      })
      const page = found.slice(0, query.limit)
      const last = page.at(-1)
      const nextCursor =
        last && found.length > page.length ? toCursorText(order, { value: VALUE_OF[query.sortBy](last), id: last.id }) : undefined
      return { flows: threadId === undefined ? await readable(userId, page) : page, ...(nextCursor && { nextCursor }) }
    },

    async findSaved(userId: string, name: string): Promise<SavedFlow | undefined> {
      access.assertUser(userId)
      const flow = await findNewest(userId, name)
      if (!flow) return undefined
      const { id: flowId, description, createdAt, flowType } = flow
      return { name, flowId, createdAt, description, flowType, definition: definitions.rebuild(flow) }
    },

    async listSaved(userId: string): Promise<readonly SavedFlowName[]> {
      access.assertUser(userId)
      const named = await flows.namesOf(userId, MAX_SAVED_FLOWS)
      const own = new Set(await readable(userId, named))
      const older = await Promise.all(named.filter((flow) => !own.has(flow)).map(({ name }) => findNewest(userId, name)))
      const saved = [...own, ...older.flatMap((flow) => (flow ? [{ ...flow, flowId: flow.id }] : []))]
      return saved.sort(byAge).map(({ name, flowId, createdAt }) => ({ name, flowId, createdAt }))
    },
  }
}

export type FlowLists = ReturnType<typeof createFlowLists>

const byAge = (a: Pick<NamedFlow, 'createdAt'>, b: Pick<NamedFlow, 'createdAt'>): number =>
  b.createdAt.getTime() - a.createdAt.getTime()
