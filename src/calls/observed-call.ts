import { AsyncResource } from 'node:async_hooks'
import type { Clock } from '../async/clock.ts'
import { isUnpriced, sumCost } from '../domain/execution/cost.ts'
import type { CallEnding, CallObservation } from '../domain/execution/observation.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import { addUsage } from '../domain/execution/usage.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { toAttemptContext } from './attempt-context.ts'
import type { AttemptContext, CallContext, CallRequest, CallResponse, PreparedRequest } from './call.ts'

type WholeCall = (request: CallRequest, context: AttemptContext) => Promise<CallResponse>
type Observe = NonNullable<CallContext['observe']>

/** Runs one call and reports its start, attempts and end to `observe`. Unobserved calls do not use this function. */
export function observedCall(
  call: WholeCall,
  clock: Clock,
  request: CallRequest,
  context: CallContext,
  observe: Observe,
): Promise<CallResponse> {
  const { provider = '', model = '' } = request.targets[0] ?? {}
  const observation = observe({ provider, model, streamed: context.onDelta !== undefined })
  // Callbacks run in the async context of the caller, not in that of the call.
  const { onAttempt, onDelta, onReasoning, onRetry, prepare } = observation.within
    ? bound(request, context)
    : { ...context, ...request }
  const startedAtMs = clock.now()
  const attempts: Attempt[] = []
  let firstChunkMs: number | undefined

  const observedContext = toAttemptContext({
    ...context,
    onReasoning,
    onRetry,
    onAttempt: (attempt) => {
      attempts.push(attempt)
      observation.attempted(attempt)
      onAttempt(attempt)
    },
    onDelta:
      onDelta &&
      ((text) => {
        firstChunkMs ??= clock.now() - startedAtMs
        onDelta(text)
      }),
  })
  const work = () => call({ targets: request.targets, prepare: reportPrompts(prepare, observation) }, observedContext)
  const end = (ending: Pick<CallEnding, 'answer' | 'errorCode' | 'aborted'>) =>
    observation.ended({ ...sumOf(attempts), ...ending, durationMs: clock.now() - startedAtMs, firstChunkMs })

  return (observation.within ? observation.within(work) : work()).then(
    (response) => {
      observation.content?.answered(response)
      end({ answer: answeredBy(response), aborted: false })
      return response
    },
    (error) => {
      const aborted = context.signal.aborted || attempts.at(-1)?.aborted === true
      end({ errorCode: OrchestratorError.from(error, aborted ? 'FLOW_CANCELLED' : 'STEP_FAILED').code, aborted })
      throw error
    },
  )
}

type Callbacks = Pick<CallContext, 'onAttempt' | 'onDelta' | 'onReasoning' | 'onRetry'> & Pick<CallRequest, 'prepare'>

const bound = ({ prepare }: CallRequest, { onAttempt, onDelta, onReasoning, onRetry }: CallContext): Callbacks => ({
  prepare: AsyncResource.bind(prepare),
  onAttempt: AsyncResource.bind(onAttempt),
  onDelta: onDelta && AsyncResource.bind(onDelta),
  onReasoning: onReasoning && AsyncResource.bind(onReasoning),
  onRetry: onRetry && AsyncResource.bind(onRetry),
})

/** `prepare`, whose results are also passed to an observer that may read prompts. */
function reportPrompts(prepare: CallRequest['prepare'], { content }: CallObservation): CallRequest['prepare'] {
  if (!content) return prepare
  const report = (prepared: PreparedRequest): PreparedRequest => {
    content.asked(prepared)
    return prepared
  }
  return (target) => {
    const prepared = prepare(target)
    return prepared instanceof Promise ? prepared.then(report) : report(prepared)
  }
}

// The fields are picked because the response itself holds the text of the model.
const answeredBy = ({ provider, model, finishReason }: CallResponse): CallEnding['answer'] => ({ provider, model, finishReason })

function sumOf(attempts: readonly Attempt[]): Pick<CallEnding, 'attempts' | 'usage' | 'costUsd' | 'unpriced' | 'simulated'> {
  const usages = attempts.map(({ usage }) => usage).filter((usage) => usage !== undefined)
  return {
    attempts: attempts.length,
    usage: usages.length === 0 ? undefined : addUsage(usages),
    costUsd: sumCost(attempts),
    unpriced: attempts.some(isUnpriced),
    simulated: attempts.at(-1)?.simulated ?? false,
  }
}
