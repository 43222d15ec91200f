import * as z from 'zod'
import { type PageOrder, parseCursor, toCursorText } from '../../domain/page-cursor.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import type { WaitCursor, WaitRepository } from '../../repositories/repository.ts'
import type { FlowAccess } from '../flows/flow-access.ts'
import { parseOptions } from '../service-options.ts'

const listOptionsSchema = z.strictObject({
  /** Only steps of this flow. All of them are one page. FLOW_NOT_FOUND. */
  flowId: z.string().max(200).optional(),
  /** With `flowId`: also the waits that have ended, in flows of every status. Default false. */
  ended: z.boolean().default(false),
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
  /** When a decision, an event or the deadline has ended it. */
  readonly endedAt?: Date
  /** Whether `signal` takes an answer of this user. */
  readonly mayAnswer: boolean
}

export interface WaitingPage {
  readonly waiting: readonly WaitingStep[]
  /** Absent at the end of the list. */
  readonly nextCursor?: string
}

export interface WaitingListDeps {
  readonly waits: Pick<WaitRepository, 'list' | 'of'>
  readonly access: Pick<FlowAccess, 'assertUser' | 'canWrite' | 'findFlow'>
  readonly now: () => Date
}

const ORDER: PageOrder = { name: 'waiting', by: 'instant' }

/** Creates the function that lists the steps that wait in flows which a user may read, the oldest first. */
export function createWaitingList({ waits, access, now }: WaitingListDeps) {
  return async function list(userId: string, given: ListWaitingOptions = {}): Promise<WaitingPage> {
    access.assertUser(userId)
    const { flowId, ended, limit, cursor } = parseOptions(listOptionsSchema, given, 'listWaiting')
    if (flowId !== undefined) return { waiting: await toWaiting(await waitsOf(flowId, userId, ended), userId) }
    const found = await waits.list(userId, limit + 1, cursor === undefined ? undefined : toWaitCursor(cursor))
    const page = found.slice(0, limit)
    const waiting = await toWaiting(page, userId)
    const last = page.at(-1)
    return found.length > limit && last ? { waiting, nextCursor: toCursor(last) } : { waiting }
  }

  async function waitsOf(flowId: string, userId: string, ended: boolean): Promise<readonly ListedWait[]> {
    const { status } = await access.findFlow(flowId, userId, 'read')
    const isActive = status === 'PAUSED' || status === 'RUNNING'
    if (!isActive && !ended) return []
    const at = now()
    const all = (await waits.of(flowId)).map(({ decision: _, decidedBy: __, decidedAt, ...wait }) => {
      const endedAt = decidedAt ?? (wait.deadline && wait.deadline <= at ? wait.deadline : undefined)
      return { ...wait, ...(endedAt && { endedAt }) }
    })
    return all.filter(({ endedAt }) => ended || !endedAt).sort((a, b) => a.since.getTime() - b.since.getTime())
  }

  function toWaiting(found: readonly ListedWait[], userId: string): Promise<readonly WaitingStep[]> {
    return Promise.all(found.map(async (wait) => toWaitingStep(wait, !wait.endedAt && (await mayAnswer(wait, userId)))))
  }

  async function mayAnswer({ kind, event, assignees, threadId }: StepWait, userId: string): Promise<boolean> {
    if (kind === 'wait' && event === undefined) return false
    return assignees ? assignees.includes(userId) : access.canWrite(threadId, userId)
  }
}

export type WaitingList = ReturnType<typeof createWaitingList>

interface ListedWait extends StepWait {
  readonly endedAt?: Date
}

const toWaitingStep = ({ assignees: _, onTimeout: __, endedAt, ...wait }: ListedWait, mayAnswer: boolean): WaitingStep => ({
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
  ...(endedAt && { endedAt }),
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
