import * as z from 'zod'
import { type PageOrder, parseCursor, toCursorText } from '../../domain/page-cursor.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import type { WaitCursor, WaitRepository } from '../../repositories/repository.ts'
import type { FlowAccess } from '../flows/flow-access.ts'
import { parseOptions } from '../service-options.ts'

const listOptionsSchema = z.strictObject({
  /** 1 to 1000, default 100. */
  limit: z.number().int().min(1).max(1_000).default(100),
  /** `nextCursor` of the previous page. */
  cursor: z.string().max(4_000).optional(),
})

/** Options of listWaiting. */
export type ListWaitingOptions = z.input<typeof listOptionsSchema>

/** One step that waits for a decision, a time or an event. */
export interface WaitingStep {
  readonly flowId: string
  readonly threadId: string
  readonly path: string
  readonly iteration: number
  readonly kind: StepWait['kind']
  readonly prompt?: string
  /** The text that is decided about. */
  readonly show?: string
  /** Schema of `data`. */
  readonly schema?: StepWait['schema']
  readonly event?: string
  readonly correlation?: string
  readonly since: Date
  readonly deadline?: Date
  /** To be given to `signal`, so that the decision counts only for what was shown. */
  readonly hash: string
  /** Whether `signal` takes an answer of this user. */
  readonly mayAnswer: boolean
}

export interface WaitingPage {
  readonly waiting: readonly WaitingStep[]
  /** Absent at the end of the list. */
  readonly nextCursor?: string
}

export interface WaitingListDeps {
  readonly waits: Pick<WaitRepository, 'list'>
  readonly access: Pick<FlowAccess, 'assertUser' | 'canWrite'>
}

const ORDER: PageOrder = { name: 'waiting', by: 'instant' }

/** Creates the function that lists the steps that wait in flows which a user may read, the oldest first. */
export function createWaitingList({ waits, access }: WaitingListDeps) {
  return async function list(userId: string, given: ListWaitingOptions = {}): Promise<WaitingPage> {
    access.assertUser(userId)
    const { limit, cursor } = parseOptions(listOptionsSchema, given, 'listWaiting')
    const found = await waits.list(userId, limit + 1, cursor === undefined ? undefined : toWaitCursor(cursor))
    const page = found.slice(0, limit)
    const waiting = await Promise.all(page.map(async (wait) => toWaitingStep(wait, await mayAnswer(wait, userId))))
    const last = page.at(-1)
    return found.length > limit && last ? { waiting, nextCursor: toCursor(last) } : { waiting }
  }

  async function mayAnswer({ kind, event, assignees, threadId }: StepWait, userId: string): Promise<boolean> {
    if (kind === 'wait' && event === undefined) return false
    return assignees ? assignees.includes(userId) : access.canWrite(threadId, userId)
  }
}

export type WaitingList = ReturnType<typeof createWaitingList>

const toWaitingStep = ({ assignees: _, onTimeout: __, ...wait }: StepWait, mayAnswer: boolean): WaitingStep => ({
  flowId: wait.flowId,
  threadId: wait.threadId,
  path: wait.path,
  iteration: wait.iteration,
  kind: wait.kind,
  ...(wait.prompt !== undefined && { prompt: wait.prompt }),
  ...(wait.show !== undefined && { show: wait.show }),
  ...(wait.schema && { schema: wait.schema }),
  ...(wait.event !== undefined && { event: wait.event }),
  ...(wait.correlation !== undefined && { correlation: wait.correlation }),
  since: wait.since,
  ...(wait.deadline && { deadline: wait.deadline }),
  hash: wait.hash,
  mayAnswer,
})

const toCursor = ({ since, flowId, path, iteration }: StepWait): string =>
  toCursorText(ORDER, { value: since, id: `${flowId}/${iteration}/${path}` })

const KEY = /^([0-9a-f-]{36})\/(\d{1,9})\/(.+)$/s

function toWaitCursor(text: string): WaitCursor | undefined {
  const { value, id } = parseCursor(ORDER, text, (key) => KEY.test(key))
  const [, flowId = '', iteration = '', path = ''] = KEY.exec(id) ?? []
  return value instanceof Date ? { since: value, flowId, path, iteration: Number(iteration) } : undefined
}
