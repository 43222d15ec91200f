import type { Budget, Spend } from '../calls/call.ts'
import { type FlowStatus, STARTABLE } from '../domain/flow.ts'
import type { FlowDefinition, FlowLimits, FlowType } from '../domain/flow-definition.ts'
import type { Attempt, StepResult } from '../domain/step-result.ts'
import type { Stop } from '../domain/stop.ts'
import type { Attachment, Message } from '../domain/thread.ts'
import type { Engine, FlowJob } from '../engines/engine.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { stepDependencies } from '../prompts/step-dependencies.ts'
import type { ProviderService } from '../providers/provider.ts'
import type { Store, StoredFlow } from '../repositories/repository.ts'
import { type FlowRun, type RunOptions, recordKey } from './flow-run.ts'
import type { FlowEnd } from './flow-runner.ts'
import { joinSampleRows } from './flow-view.ts'
import type { LiveUpdates } from './live-updates.ts'
import { totalsOf } from './totals.ts'
import type { UpdateLog } from './update-log.ts'

export interface FlowExecutionPorts {
  readonly store: Store
  readonly engine: Engine
  readonly providers: ProviderService
  readonly updateLog: UpdateLog
  readonly live: LiveUpdates
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  /** Whether steps of flows of this type run several times by themselves. */
  readonly isLoop: (type: FlowType) => boolean
  readonly createBudget: (limits: FlowLimits, alreadySpent: Spend) => Budget | undefined
  readonly ownerId: string
  /** For flows that set none of their own. */
  readonly defaults: { readonly limits?: FlowLimits; readonly flowTimeoutMs?: number }
  readonly now: () => Date
}

/** The prompt of a run and what came with it. */
export interface RunInput {
  readonly text: string
  readonly messageId?: string
  readonly attachments: readonly Attachment[]
}

export interface FlowOrder {
  readonly flow: StoredFlow
  readonly definition: FlowDefinition
  readonly input: RunInput
  readonly options: RunOptions
}

interface Starting {
  readonly order: FlowOrder
  readonly end: (end: FlowEnd) => void
  /** Set by a cancel that came before the engine had the flow. */
  cancelled: OrchestratorError | undefined
}

/** Flows of this process between their claim and their end. */
export function createFlowExecutions(ports: FlowExecutionPorts) {
  const { store, engine, providers } = ports
  const starting = new Map<string, Starting>()
  const runs = new Map<string, FlowRun>()
  const apart = new Map<string, Promise<unknown>>()

  /** Claims the flow and hands it to the engine. Resolves when it runs; `end` resolves when it is over. */
  async function start(order: FlowOrder): Promise<{ readonly end: Promise<FlowEnd> }> {
    const { flow, definition } = order
    if (starting.has(flow.id)) throw statusError(flow.id, 'RUNNING')
    for (const step of definition.steps) providers.assertUsable(step.provider)
    const end = new Promise<FlowEnd>((resolve) => {
      starting.set(flow.id, { order, end: resolve, cancelled: undefined })
    })
    try {
      await engine.start({ flowId: flow.id, epoch: await claim(order) })
      return { end }
    } catch (error) {
      starting.delete(flow.id)
      throw error
    }
  }

  async function claim({ flow, input, options }: FlowOrder): Promise<number> {
    const { ownerId } = ports
    const claimed = await store.journal.claim({
      flowId: flow.id,
      from: STARTABLE,
      ownerId,
      startedAt: ports.now(),
      input: input.text,
      metadata: options.metadata,
    })
    if ('epoch' in claimed) return claimed.epoch
    throw statusError(flow.id, claimed.status)
  }

  async function open(job: FlowJob, stop: Stop): Promise<FlowRun> {
    const begun = starting.get(job.flowId)
    const run = await openOrder(begun?.order ?? (await orderFromStore(job.flowId)), job, stop)
    if (begun?.cancelled) stop.stop(begun.cancelled)
    return run
  }

  async function openOrder({ flow, definition, input, options }: FlowOrder, job: FlowJob, stop: Stop): Promise<FlowRun> {
    // The first owner of a fresh flow finds nothing of an earlier run, so it need not look.
    const isFresh = job.epoch === 1 && flow.parentFlowId === undefined
    const limits = mergeLimits(definition.limits ?? ports.defaults.limits, options.limits)
    const earlier = isFresh
      ? NOTHING_EARLIER
      : await readEarlier(store, flow, firstSteps(definition), ports.isLoop(flow.flowType))
    const log = ports.updateLog.open({
      flowId: flow.id,
      epoch: job.epoch,
      lastSeq: earlier.lastSeq,
      onUpdate: options.onUpdate,
      stop,
    })
    const run: FlowRun = {
      flowId: flow.id,
      threadId: flow.threadId,
      userId: flow.userId,
      epoch: job.epoch,
      definition,
      input: input.text,
      inputMessageId: input.messageId,
      attachments: input.attachments,
      options,
      stop,
      log,
      limits,
      budget: budgetFor(limits, ports.createBudget, earlier.results, flow.result?.spent),
      timeoutMs: options.flowTimeoutMs ?? definition.maxExecutionTime ?? ports.defaults.flowTimeoutMs,
      recorded: earlier.recorded,
      inFlightAtCrash: earlier.inFlight,
      earlier: earlier.results,
      earlierAttempts: earlier.attempts,
      results: [],
      startedAt: ports.now(),
      simulated: definition.steps.some((step) => simulatedIds(providers).has(step.provider)),
      stepsStarted: earlier.results.filter((result) => result.status === 'SUCCESS').length,
      currentStepIndex: 0,
    }
    runs.set(flow.id, run)
    return run
  }

  async function orderFromStore(flowId: string): Promise<FlowOrder> {
    const flow = await store.flows.find(flowId)
    if (!flow) throw new OrchestratorError('FLOW_NOT_FOUND', `No flow "${flowId}"`, { details: { flowId } })
    const options: RunOptions = { streaming: false, saveMessages: false, metadata: flow.metadata ?? {} }
    const input = { text: flow.input ?? '', attachments: [] }
    return { flow, definition: ports.rebuild(flow), input, options }
  }

  function onEnd(job: FlowJob, end: FlowEnd): void {
    const begun = starting.get(job.flowId)
    starting.delete(job.flowId)
    close(job.flowId)
    begun?.end(end)
  }

  /** Ends the flow if it is between claim and end in this process; resolves false where it is not. */
  async function cancel(flowId: string, reason: OrchestratorError): Promise<boolean> {
    const begun = starting.get(flowId)
    if (begun) begun.cancelled ??= reason
    const run = runs.get(flowId)
    run?.stop.stop(reason)
    await apart.get(flowId)?.catch(() => {})
    return (await engine.cancel(flowId, reason)) || begun !== undefined || run !== undefined
  }

  /** Work on a flow that no engine drives; cancel and closing wait for it. */
  function track<T>(flowId: string, work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => apart.delete(flowId))
    apart.set(flowId, tracked)
    return tracked
  }

  /** Ends everything that runs apart from the engine. */
  async function stopAll(reason: unknown): Promise<void> {
    for (const flowId of apart.keys()) runs.get(flowId)?.stop.stop(reason)
    await Promise.allSettled(apart.values())
  }

  /** Forgets a run that was opened with `openOrder`. */
  function close(flowId: string): void {
    runs.delete(flowId)
    ports.live.ended(flowId)
  }

  return {
    start,
    open,
    openOrder,
    track,
    stopAll,
    close,
    onEnd,
    cancel,
    find: (flowId: string): FlowRun | undefined => runs.get(flowId),
  }
}

export type FlowExecutions = ReturnType<typeof createFlowExecutions>

interface Earlier {
  readonly results: readonly StepResult[]
  readonly recorded: ReadonlyMap<string, StepResult>
  readonly attempts: ReadonlyMap<string, readonly Attempt[]>
  readonly inFlight: ReadonlySet<string>
  readonly lastSeq: number
}

const NOTHING_EARLIER: Earlier = { results: [], recorded: new Map(), attempts: new Map(), inFlight: new Set(), lastSeq: 0 }

/** What earlier executions left: paid results, ledger numbers, the last update, and steps that a crash caught in flight. */
async function readEarlier(store: Store, flow: StoredFlow, stepIds: readonly string[], isLoop: boolean): Promise<Earlier> {
  const rows = await store.flows.stepResults(flow.id, { samples: true })
  const results = joinSampleRows(rows)
  const recorded = new Map<string, StepResult>()
  const attempts = new Map<string, readonly Attempt[]>()
  for (const result of [...rows.filter((row) => row.sample > 0), ...results]) {
    const key = recordKey(result.stepId, result.iteration, result.sample)
    // Outside a loop a further iteration is a repetition by executeStep, and takes the place of the first.
    if (result.status === 'SUCCESS') recorded.set(isLoop ? key : recordKey(result.stepId, 1, result.sample), result)
    if (result.attempts.length > 0) attempts.set(key, result.attempts)
  }
  const updates = await store.updates.read(flow.id, 0, Number.MAX_SAFE_INTEGER)
  const inFlight = new Set<string>()
  for (const { type, stepId, iteration } of updates) {
    if (type === 'step_start') inFlight.add(`${stepId}#${iteration}`)
    if (type === 'step_complete') inFlight.delete(`${stepId}#${iteration}`)
  }
  // Starts of the first steps are not waited for: a crash may have left no trace of them.
  const leftNothing = flow.error?.code === 'FLOW_INTERRUPTED' && results.length === 0
  if (leftNothing) for (const id of stepIds) inFlight.add(`${id}#1`)
  return { results, recorded, attempts, inFlight, lastSeq: updates.at(-1)?.seq ?? 0 }
}

/** Steps that a run may start before any other has ended. */
const firstSteps = (definition: FlowDefinition): readonly string[] => {
  const waiting = stepDependencies(definition)
  const free = definition.steps.filter((step) => waiting.get(step.id)?.waitsFor.size === 0).map((step) => step.id)
  return definition.type === 'parallel' || definition.type === 'graph' ? free : free.slice(0, 1)
}

/** Limits are hard over all executions of a flow: what earlier ones spent counts. */
function budgetFor(
  limits: FlowLimits | undefined,
  createBudget: FlowExecutionPorts['createBudget'],
  earlier: readonly StepResult[],
  settled: Spend = { costUsd: 0, tokens: 0 },
): Budget | undefined {
  if (limits?.maxCostUsd === undefined && limits?.maxTokens === undefined) return undefined
  const { totalCost, totalTokens } = totalsOf(earlier)
  return createBudget(limits, { costUsd: Math.max(totalCost, settled.costUsd), tokens: Math.max(totalTokens, settled.tokens) })
}

/** Limits of one execution go over those of the flow, one by one. */
const mergeLimits = (own: FlowLimits | undefined, given: FlowLimits | undefined): FlowLimits | undefined =>
  given ? { ...own, ...given } : own

const simulatedProviders = new WeakMap<ProviderService, ReadonlySet<string>>()

function simulatedIds(providers: ProviderService): ReadonlySet<string> {
  const known = simulatedProviders.get(providers)
  if (known) return known
  const ids = new Set(providers.list().flatMap((info) => (info.simulated ? [info.id] : [])))
  simulatedProviders.set(providers, ids)
  return ids
}

/** Why a flow of this status cannot be started. */
export function statusError(flowId: string, status: FlowStatus | undefined): OrchestratorError {
  const details = { flowId, status }
  if (status === undefined) return new OrchestratorError('FLOW_NOT_FOUND', `No flow "${flowId}"`, { details: { flowId } })
  if (status === 'COMPLETED') return new OrchestratorError('FLOW_ALREADY_COMPLETED', `Flow "${flowId}" is completed`, { details })
  return new OrchestratorError('FLOW_ALREADY_RUNNING', `Flow "${flowId}" is running`, { details })
}

/** Where the prompt of a run comes from: the option, an earlier run, the definition, the thread's newest user message. */
export async function resolveInput(
  { flow, definition, given }: { readonly flow: StoredFlow; readonly definition: FlowDefinition; readonly given?: string },
  newestUserMessage: (threadId: string) => Promise<Message | undefined>,
): Promise<RunInput> {
  const text = given ?? flow.input ?? definition.input
  if (text !== undefined && text !== flow.input) return { text, attachments: [] }
  const message = await newestUserMessage(flow.threadId)
  // An earlier run may have taken its prompt from this message, with what is attached to it.
  if (text !== undefined && message?.content !== text) return { text, attachments: [] }
  if (message) return { text: message.content, messageId: message.id, attachments: message.attachments ?? [] }
  throw new OrchestratorError(
    'FLOW_INPUT_MISSING',
    'Expected options.input, an input in the definition or a user message in the thread; found none',
    {
      details: { flowId: flow.id, threadId: flow.threadId },
    },
  )
}
