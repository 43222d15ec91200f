import * as z from 'zod'
import { parseOutputSchema } from '../../domain/answers/output-schema.ts'
import { MAX_DATA_LENGTH, type StoredWait, type WaitDecision, type WaitKey } from '../../domain/waiting/wait.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { StoredFlow, WaitRepository } from '../../repositories/repository.ts'
import type { FlowExecution } from '../flow-run.ts'
import type { FlowAccess } from '../flows/flow-access.ts'
import { parseOptions } from '../service-options.ts'

const answerSchema = z.strictObject({
  /** Required for an approval. */
  approved: z.boolean().optional(),
  /** Replaces the text that was shown; of a call of a tool, its arguments as JSON. */
  edit: z.string().max(1_000_000).optional(),
  /** Must fit the schema of the step; of a caller tool, its result: text, or a value that the model gets as JSON. */
  data: z.unknown().optional(),
  /** `hash` of the row of `listWaiting`: the decision is refused if the step shows something else by now. */
  hash: z.string().max(200).optional(),
})
/** A decision about a step that waits. */
export type SignalAnswer = z.input<typeof answerSchema>

const eventSchema = z.strictObject({
  event: z.string().min(1).max(200),
  /** Reaches the steps whose rendered `correlation` is the same text; without it those that have none. */
  correlation: z.string().min(1).max(10_000).optional(),
  data: z.unknown().optional(),
})
/** An event for steps that wait for it. */
export type SignalEvent = z.input<typeof eventSchema>

/** The decision that counts. */
export interface SignalReceipt extends WaitKey, WaitDecision {
  readonly by: string
  readonly at: Date
}

/** The steps that an event has reached. */
export interface EventReceipt {
  readonly delivered: readonly WaitKey[]
}

export interface SignalsDeps {
  readonly waits: WaitRepository
  readonly access: Pick<FlowAccess, 'findFlow' | 'assertUser'>
  /** Whether the definition of a flow has a step at that path. */
  readonly hasStep: (flow: StoredFlow, path: string) => boolean
  readonly executions: {
    /** The execution of a flow that runs in this process. */
    find(flowId: string): Pick<FlowExecution, 'pause'> | undefined
    /** Resumes a paused flow. */
    wake(flowId: string): Promise<void>
  }
  readonly now: () => Date
}

const EVENTS_AT_ONCE = 500

/** Creates the functions by which users end waits. */
export function createSignals({ waits, access, hasStep, executions, now }: SignalsDeps) {
  async function signal(flowId: string, userId: string, path: string, given: SignalAnswer): Promise<SignalReceipt> {
    const answer = parseOptions(answerSchema, given, 'signal')
    const flow = await access.findFlow(flowId, userId, 'read')
    const find = async () => newest((await waits.of(flowId)).filter((wait) => wait.path === path))
    const wait = await find()
    if (!wait) {
      await access.findFlow(flowId, userId, 'write', flow)
      throw hasStep(flow, path) ? notWaiting(flowId, path) : stepNotFound(flowId, path)
    }
    await assertMayAnswer(flow, userId, wait)
    const decision = checkAnswer(flow, wait, answer)
    const at = now()
    const { iteration, hash } = wait
    if (!(await waits.decide({ flowId, path, iteration, hash, decision, by: userId, at }))) throw whyRefused(flow, await find())
    const ended = { ...wait, decision, decidedBy: userId, decidedAt: at }
    if (!executions.find(flowId)?.pause?.decided(ended)) await executions.wake(flowId)
    return { flowId, path, iteration, ...decision, by: userId, at }
  }

  async function signalEvent(userId: string, given: SignalEvent): Promise<EventReceipt> {
    access.assertUser(userId)
    const { event, correlation, data } = parseOptions(eventSchema, given, 'signalEvent')
    assertSize(data)
    const delivered: WaitKey[] = []
    for (;;) {
      const at = now()
      const ended = await waits.deliver({ userId, event, correlation, data, at, limit: EVENTS_AT_ONCE })
      delivered.push(...ended)
      await Promise.all(ended.map((key) => pass(key, { data }, userId, at)))
      if (ended.length < EVENTS_AT_ONCE) return { delivered }
    }
  }

  /** Passes an event on to its flow, which may still run because other steps of it do. */
  async function pass({ flowId, path, iteration }: WaitKey, decision: WaitDecision, decidedBy: string, decidedAt: Date) {
    const control = executions.find(flowId)?.pause
    const wait = control && (await waits.of(flowId)).find((one) => one.path === path && one.iteration === iteration)
    if (!wait || !control?.decided({ ...wait, decision, decidedBy, decidedAt })) await executions.wake(flowId)
  }

  /** Assignees shut out everybody else, the creator of the flow too. */
  async function assertMayAnswer(flow: StoredFlow, userId: string, { assignees, path }: StoredWait): Promise<void> {
    if (!assignees) {
      await access.findFlow(flow.id, userId, 'write', flow)
      return
    }
    if (assignees.includes(userId)) return
    throw new OrchestratorError('PERMISSION_DENIED', `Expected an assignee of step "${path}", found another user`, {
      details: { flowId: flow.id, stepId: path, right: 'decide' },
    })
  }

  return { signal, signalEvent }
}

export type Signals = ReturnType<typeof createSignals>

/** The open wait of a step, otherwise the one of its last iteration. */
const newest = (found: readonly StoredWait[]): StoredWait | undefined => {
  const sorted = [...found].sort((a, b) => a.iteration - b.iteration)
  return sorted.findLast(({ decidedAt }) => decidedAt === undefined) ?? sorted.at(-1)
}

/** The decision of an answer that fits the wait. Throws the reason why it does not. */
function checkAnswer(flow: StoredFlow, wait: StoredWait, answer: SignalAnswer): WaitDecision {
  const { path, kind, event, schema } = wait
  const { approved, edit, hash, data } = answer
  const isActive = flow.status === 'PAUSED' || flow.status === 'RUNNING'
  if (wait.decidedAt || !isActive) throw whyRefused(flow, wait)
  const details = { flowId: flow.id, stepId: path }
  const invalid = (message: string) => new OrchestratorError('INPUT_INVALID', `signal: ${message}`, { details })
  if (hash !== undefined && hash !== wait.hash) {
    throw new OrchestratorError('APPROVAL_OUTDATED', `Step "${path}" shows something else than was decided about`, { details })
  }
  assertSize(data)
  if (kind === 'wait') {
    if (event === undefined) {
      const until = wait.deadline?.toISOString()
      throw new OrchestratorError('STEP_NOT_WAITING', `Step "${path}" waits until ${until} and takes no answer`, { details })
    }
    if (approved !== undefined || edit !== undefined)
      throw invalid(`approved, edit: expected neither for step "${path}", which waits for an event`)
    return { data }
  }
  if (kind === 'caller') {
    if (approved !== undefined || edit !== undefined)
      throw invalid(`approved, edit: expected neither for "${path}", which waits for the result of a tool`)
    if (data === undefined) throw invalid(`data: expected the result of the tool "${event}", found none`)
    return { data }
  }
  if (approved === undefined) throw invalid('approved: expected true or false, found none')
  if (kind === 'tool') {
    if (data !== undefined) throw invalid('data: expected none, because a call of a tool takes only an edit')
    if (edit !== undefined) checkArguments(schema, edit, invalid)
    return { approved, ...(edit !== undefined && { edit }) }
  }
  if (edit !== undefined && wait.show === undefined) throw invalid(`edit: expected none, because step "${path}" shows no text`)
  return { approved, ...(edit !== undefined && { edit }), ...checkData(schema, approved, data, invalid) }
}

/** An edit replaces the arguments of a call. The step checks them again, by the whole schema of its tool. */
function checkArguments(schema: StoredWait['schema'], edit: string, invalid: (message: string) => OrchestratorError): void {
  if (!schema) throw invalid('edit: expected none, because the call was already made with its arguments')
  let given: unknown
  try {
    given = JSON.parse(edit)
  } catch {
    throw invalid('edit: expected the arguments as JSON')
  }
  const parsed = parseOutputSchema(schema)
  const read = 'schema' in parsed ? parsed.schema.safeParse(given) : undefined
  if (!read || read.success) return
  throw invalid(read.error.issues.map((issue) => `${['edit', ...issue.path].join('.')}: ${issue.message}`).join('; '))
}

/** A rejection needs no data. */
function checkData(
  schema: StoredWait['schema'],
  approved: boolean,
  data: unknown,
  invalid: (message: string) => OrchestratorError,
): Pick<WaitDecision, 'data'> {
  if (data === undefined && (!schema || !approved)) return {}
  if (!schema) return { data }
  const parsed = parseOutputSchema(schema)
  if ('problem' in parsed) throw new OrchestratorError('INTERNAL', `A stored schema is invalid: ${parsed.problem}`)
  const read = parsed.schema.safeParse(data)
  if (read.success) return { data: read.data }
  const problems = read.error.issues.map((issue) => `${['data', ...issue.path].join('.')}: ${issue.message}`)
  throw invalid(problems.join('; '))
}

function assertSize(data: unknown): void {
  let length: number
  try {
    length = JSON.stringify(data)?.length ?? 0
  } catch (cause) {
    throw new OrchestratorError('INPUT_INVALID', 'data: expected a value that JSON can hold', { cause })
  }
  if (length <= MAX_DATA_LENGTH) return
  throw new OrchestratorError('INPUT_INVALID', `data: expected at most ${MAX_DATA_LENGTH} characters as JSON, found ${length}`)
}

function whyRefused(flow: StoredFlow, wait: StoredWait | undefined): OrchestratorError {
  if (!wait) return notWaiting(flow.id, flow.name)
  const { path, decidedAt, decidedBy, decision, deadline } = wait
  const details = { flowId: flow.id, stepId: path, iteration: wait.iteration }
  if (decidedAt && !decision?.timedOut) {
    const at = decidedAt.toISOString()
    return new OrchestratorError('APPROVAL_DECIDED', `Step "${path}" was decided by "${decidedBy}" at ${at}`, {
      details: { ...details, by: decidedBy, at, approved: decision?.approved },
    })
  }
  if (!decidedAt && flow.status !== 'PAUSED' && flow.status !== 'RUNNING') return notWaiting(flow.id, path)
  const message = `The time for step "${path}" was over at ${deadline?.toISOString()}`
  return new OrchestratorError('APPROVAL_EXPIRED', message, { details })
}

const notWaiting = (flowId: string, path: string): OrchestratorError =>
  new OrchestratorError('STEP_NOT_WAITING', `Step "${path}" of flow "${flowId}" does not wait`, {
    details: { flowId, stepId: path },
  })

const stepNotFound = (flowId: string, path: string): OrchestratorError =>
  new OrchestratorError('STEP_NOT_FOUND', `Flow "${flowId}" has no step "${path}"`, { details: { flowId, stepId: path } })
