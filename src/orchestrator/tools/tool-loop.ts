import type { CallRequest, CallResponse } from '../../calls/call.ts'
import { isPool, type PoolDirectory, targetOf } from '../../domain/definition/call/pools.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'
import type { ToolChoice } from '../../domain/execution/model-call.ts'
import type { Attempt } from '../../domain/execution/step-result.ts'
import { DEFAULT_MAX_TURNS } from '../../domain/tools/tool-fields.ts'
import { type RecordedTurn, resultsInOrder, toCallRecords } from '../../domain/tools/turns.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { estimateFileTokens } from '../../prompts/file-tokens.ts'
import type { TokenCounter } from '../../prompts/token-count.ts'
import type { ReadFile } from '../files/file-parts.ts'
import type { StepSlot } from '../steps/acquire-slot.ts'
import { createCallContext } from '../steps/call-context.ts'
import { announceTurn } from '../steps/call-intents.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import { once, type PrepareStep, type StepPrompt } from '../steps/step-prompt.ts'
import type { StepOutcomeDraft } from '../steps/step-record.ts'
import { hasInvalidCall } from './planned-call.ts'
import { runCalls, type ToolCallsDeps } from './tool-calls.ts'
import { isOfCaller, resolveTools, type ToolSet, type ToolSetDeps } from './tool-set.ts'
import { conversationOrigins, shareTurns } from './tool-sharing.ts'
import type { ToolStep } from './tool-step.ts'
import {
  continuedBy,
  identified,
  openTurnRecord,
  type TurnRecord,
  toModelTurn,
  toTurnMessages,
  withTurns,
} from './turn-record.ts'

export interface ToolLoopDeps extends ToolCallsDeps, ToolSetDeps {
  /** Implemented by createStepPrompt. */
  readonly prepare: PrepareStep
  readonly tokens: TokenCounter
  /** Vendor of a provider id, which determines the tokenizer. Implemented by createPricingLookup. */
  readonly vendorOf: (provider: string) => string
  /** Implemented by createFileReader. */
  readonly readFile: ReadFile
  readonly pools: Pick<PoolDirectory, 'membersOf'>
}

/** One run of a step with tools. */
export interface ToolRun {
  readonly task: StepTask
  readonly sample: number
  readonly draft: StepOutcomeDraft
  /** Aborted at the end of the flow and of the step. */
  readonly abort: AbortController
  /** The request to the first target, without tools. Undefined for a pool, whose members are prepared when asked. */
  readonly prompt: StepPrompt | undefined
  /** Announces the first call of the step, if its request is known, and resolves when everything before is durable. */
  readonly begin: (request: StepPrompt | undefined) => Promise<void>
  /** The slot of the step, which it leaves while a user decides. */
  readonly slot: StepSlot
}

/** Turns with calls that cannot be made which are answered before the step fails. */
const MAX_INVALID_TURNS = 2

export type RunTools = (run: ToolRun) => Promise<CallResponse>

/**
 * Creates the function that asks the model of a step until it answers without calling a tool, and makes its calls in
 * between. What an earlier execution recorded is neither asked nor called again. Resolves with the last answer; the
 * draft then has its request and the calls. Rejects with LIMIT_EXCEEDED after the last turn, TOOL_CALL_INVALID after
 * three turns with calls that cannot be made, and with the errors of the calls of the model.
 */
export function createToolLoop(deps: ToolLoopDeps): RunTools {
  return async (run) => {
    const { task, sample, draft, abort } = run
    const { step } = task
    const set = await resolveTools(deps, step, task.run.definition.callerTools, abort.signal)
    refuseApproval(task, set)
    const record = openTurnRecord({ task, sample, draft, now: deps.now })
    const loop = openLoop(deps, run, set, record)
    const { maxTurns = DEFAULT_MAX_TURNS } = step
    let answered = 0
    try {
      for (;;) {
        const last = record.turns.at(-1)
        if (last) await runCalls(deps, loop.step, last)
        draft.attempts.sort((a, b) => a.number - b.number)
        const number = record.turns.length + 1
        // The answer of an earlier execution that is about to be repaired.
        if (draft.response) {
          draft.prompt = await loop.request(draft.response.provider, draft.response.requestedModel, number)
          answered = 1
          return draft.response
        }
        const answer = await loop.ask(number)
        const toolCalls = set.tools.size > 0 ? identified(number, answer.response) : []
        if (toolCalls.length === 0 && !answer.response.isPaused) {
          answered = 1
          return withTurns(answer.response, record.turns)
        }
        if (number >= maxTurns) throw tooManyTurns(task, maxTurns)
        const turn = toModelTurn(number, answer.response, toolCalls, draft.prompt?.origins ?? [])
        refuseInvalid(task, set, record.turns, turn)
        record.addTurn(turn, answer.attempts)
      }
    } finally {
      draft.attempts.sort((a, b) => a.number - b.number)
      draft.sharing.push(...resultsInOrder(record.turns).flatMap(({ sharing }) => sharing))
      draft.tools = { turns: record.turns.length + answered, toolCalls: toCallRecords(record.turns) }
    }
  }
}

/** A run of one step alone has no owner that could continue it after a pause, so nothing is paid for. */
function refuseApproval({ run, step }: StepTask, { tools }: ToolSet): void {
  if (run.pause) return
  const asking = [...tools.values()].filter((tool) => tool.needsApproval || isOfCaller(tool)).map(({ id }) => id)
  if (asking.length === 0) return
  const message = `executeStep: expected a step whose tools need no approval and no caller, found "${step.id}" with ${asking.join(', ')}`
  throw new OrchestratorError('INPUT_INVALID', message, { details: { flowId: run.flowId, stepId: step.id, tools: asking } })
}

/** The turn that ends the step is not recorded: a later execution of the flow asks for it again. */
function refuseInvalid({ step }: StepTask, set: ToolSet, turns: readonly RecordedTurn[], model: RecordedTurn['model']): void {
  if (!hasInvalidCall(set, { model, started: new Map(), results: new Map() })) return
  const answered = turns.filter(({ results }) => [...results.values()].some(({ isInvalid }) => isInvalid)).length
  if (answered < MAX_INVALID_TURNS) return
  const names = model.toolCalls.map(({ name }) => name)
  const message = `Expected calls of the tools of step "${step.id}" with arguments that fit; after ${answered} corrections the model called ${names.join(', ')} wrongly again`
  throw new OrchestratorError('TOOL_CALL_INVALID', message, { details: { stepId: step.id, tools: names, corrections: answered } })
}

const tooManyTurns = ({ step }: StepTask, maxTurns: number): OrchestratorError =>
  new OrchestratorError(
    'LIMIT_EXCEEDED',
    `Expected step "${step.id}" to have an answer after ${maxTurns} turns; its model still calls tools. Raise maxTurns`,
    { details: { limit: 'maxTurns', max: maxTurns, stepId: step.id } },
  )

interface Loop {
  readonly step: ToolStep
  /** Asks the model for one turn. */
  ask(turn: number): Promise<{ readonly response: CallResponse; readonly attempts: readonly Attempt[] }>
  /** The request of a turn to one target. */
  request(provider: string, model: string, turn: number): Promise<StepPrompt>
}

function openLoop(deps: ToolLoopDeps, run: ToolRun, set: ToolSet, record: TurnRecord): Loop {
  const { task, sample, draft, abort, prompt, begin, slot } = run
  const { step } = task
  const { maxTurns = DEFAULT_MAX_TURNS } = step
  const prompts = new Map<string, Promise<StepPrompt>>(prompt ? [[nameOf(step), Promise.resolve(prompt)]] : [])
  const { timeoutMs } = createCallContext(deps, task, sample, draft, abort)
  let endsAtMs = deps.now().getTime() + (timeoutMs ?? 0)
  const remainingMs = () => endsAtMs - deps.now().getTime()
  const countFor =
    ({ provider, model }: Target) =>
    (text: string) =>
      deps.tokens.count(text, deps.vendorOf(provider), model)
  const fileTokensFor =
    ({ provider }: Target): ToolStep['fileTokens'] =>
    (file) =>
      estimateFileTokens(deps.vendorOf(provider), file)

  const prepareFirst = async (target: Target): Promise<StepPrompt> => {
    const first = await deps.prepare(task, target)
    decided(first.sharing)
    return first
  }
  const decided = (sharing: StepPrompt['sharing']) => {
    draft.sharing.push(...sharing)
    for (const decision of sharing)
      if (!decision.allowed) task.run.log.emit('context_withheld', decision, task.path, task.iteration)
  }

  async function request(target: Target, turn: number): Promise<StepPrompt> {
    const known = prompts.get(nameOf(target)) ?? prepareFirst(target)
    prompts.set(nameOf(target), known)
    const first = await known
    const turns = continuedBy(record.turns, target)
    decided(await shareTurns(deps, task, target, turns))
    const further = toTurnMessages(turns, target, deps.readFile)
    const own: StepPrompt = {
      ...first,
      messages: further.length > 0 ? [...first.messages, ...further] : first.messages,
      ...(set.definitions.length > 0 && { tools: set.definitions }),
      ...(set.hosted.length > 0 && { hostedTools: set.hosted }),
      ...choiceOf(set, turn, maxTurns),
      origins: conversationOrigins(first.origins, turns, target.provider),
    }
    const countTokens = countFor(target)
    const countInputTokens = async () => {
      let tokens = await first.countInputTokens()
      for (const text of [...set.definitions, ...further].map((part) => JSON.stringify(part))) tokens += await countTokens(text)
      const files = further.flatMap((message) => (message.role === 'tool' ? (message.files ?? []) : []))
      for (const file of files) tokens += fileTokensFor(target)(file)
      return tokens
    }
    return { ...own, countInputTokens: once(countInputTokens) }
  }

  /**
   * The target that wrote the last turn comes first, and of a pool the member that wrote it, because only that can
   * continue with its own reasoning.
   */
  function order(): Pick<CallRequest, 'targets' | 'writer'> {
    const targets: readonly Target[] = [step, ...step.fallbacks]
    const last = record.turns.at(-1)?.model
    const writer = last && { provider: last.provider, model: last.requestedModel }
    const first = writer && targetOf(deps.pools, targets, writer)
    // The pools may have been configured anew since an earlier execution.
    if (!first) return { targets }
    return { targets: [first, ...targets.filter((target) => target !== first)], ...(isPool(first) && { writer }) }
  }

  async function ask(turn: number) {
    assertTime(task, remainingMs())
    // Only the last answer may be kept as that of the step.
    draft.keepAnswer = undefined
    const { targets, writer } = order()
    const [first = step] = targets
    const prepared = isPool(first) ? undefined : await request(first, turn)
    draft.prompt = prepared
    if (turn === 1 || !prepared) await begin(prepared)
    else await announceTurn(deps, task, sample, draft, prepared)
    const asked: StepPrompt[] = []
    const attempts: Attempt[] = []
    const context = createCallContext(deps, task, sample, draft, abort)
    const prepareNext = async (target: Target) => {
      const next = await request(target, turn)
      asked.push(next)
      draft.prompt = next
      return next
    }
    const call: CallRequest = {
      targets,
      ...(writer && { writer }),
      prepare: (target) => (target === first && prepared) || prepareNext(target),
    }
    const response = await deps.call(call, {
      ...context,
      announcesFirst: prepared === undefined,
      abort: undefined,
      timeoutMs: remainingMs(),
      onAttempt: (attempt) => {
        context.onAttempt(attempt)
        attempts.push(...draft.attempts.slice(-1))
      },
    })
    const isAnswered = ({ provider, model }: Target) => provider === response.provider && model === response.requestedModel
    draft.prompt = asked.findLast(isAnswered) ?? draft.prompt
    return { response, attempts }
  }

  async function waiting(work: () => Promise<void>): Promise<void> {
    const since = deps.now().getTime()
    slot.leave()
    await work()
    await slot.enter()
    endsAtMs += deps.now().getTime() - since
  }

  const reader = (): Target => {
    const { targets, writer } = order()
    return writer ?? targets[0] ?? step
  }
  const countTokens: ToolStep['countTokens'] = (text) => countFor(reader())(text)
  const fileTokens: ToolStep['fileTokens'] = (file) => fileTokensFor(reader())(file)
  return {
    step: { task, sample, draft, abort, set, record, countTokens, fileTokens, remainingMs, waiting },
    ask,
    request: (provider, model, turn) => request({ provider, model }, turn),
  }
}

/**
 * A tool that the step demands is demanded once: demanded in every turn, the model could never answer. In the last turn
 * the model gets its tools, which vendors need beside the calls so far, and must answer.
 */
function choiceOf({ tools, choice }: ToolSet, turn: number, maxTurns: number): { readonly toolChoice?: ToolChoice } {
  if (tools.size === 0) return {}
  if (choice === 'none' || turn >= maxTurns) return { toolChoice: 'none' }
  return turn === 1 && choice !== undefined ? { toolChoice: choice } : {}
}

/** The repair of an answer continues the conversation, and the model must not call a tool in it. */
export const withoutCalls = (prompt: StepPrompt): StepPrompt => (prompt.tools ? { ...prompt, toolChoice: 'none' } : prompt)

const nameOf = ({ provider, model }: Target): string => `${provider}/${model}`

function assertTime({ run, step }: StepTask, remainingMs: number): void {
  if (remainingMs > 0) return
  const timeoutMs = step.timeout ?? run.options.stepTimeoutMs
  throw new OrchestratorError('STEP_TIMEOUT', `Expected step "${step.id}" to end within ${timeoutMs} ms with its tools`, {
    details: { stepId: step.id, timeoutMs },
  })
}
