import { setImmediate } from 'node:timers/promises'
import { type Clock, wait } from '../../async/clock.ts'
import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { ModelRequest, ModelResponse } from '../../domain/execution/model-call.ts'
import { toForeignCheck } from '../../domain/tools/operation-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { GenerateOptions, Provider, ProviderInfo, ProviderOperation, ProviderService } from '../provider.ts'
import { findClosest } from './closest-request.ts'
import { toRecordedError } from './outcomes.ts'
import type { Recording } from './recording.ts'
import { type RecordedExchange, toExchangeName } from './recording-format.ts'
import { type Redact, toKeptRequest } from './redaction.ts'

export interface ReplayOptions {
  readonly recording: Recording
  /** Removes the configured secrets, as the recorder did. */
  readonly redact: Redact
  /** Waits of at most this many milliseconds that a provider asked for are left out. */
  readonly retryAfterCapMs: number
  readonly clock: Clock
}

/**
 * Serves the answers of a recording in place of the configured providers, which are never called and may lack their
 * keys. The n-th of several equal requests gets the n-th recorded outcome.
 */
export function createReplayedProviders(configured: ProviderService, options: ReplayOptions): ProviderService {
  const next = createSequences(options)
  const infos = new Map<string, ProviderInfo>(configured.list().map((info) => [info.id, info]))
  const offered = new Map<string, readonly ProviderOperation[]>()
  for (const fact of options.recording.facts) {
    if (fact.kind === 'operations') offered.set(fact.provider, fact.operations.map(toOperation))
    if (fact.kind !== 'provider') continue
    const { id, adapter: kind, vendor, simulated, inProcess, inHouse } = fact
    infos.set(id, {
      id,
      kind,
      vendor,
      simulated,
      ...(inProcess && { inProcess }),
      ...(inHouse && { inHouse }),
      active: infos.get(id)?.active ?? true,
      origin: 'recording',
    })
  }
  const providers = new Map<string, Provider>()

  function getUsable(id: string): ProviderInfo {
    const info = infos.get(id)
    if (info?.active) return info
    if (info) throw new OrchestratorError('PROVIDER_INACTIVE', `provider "${id}" is not active`, { details: { provider: id } })
    throw new OrchestratorError(
      'PROVIDER_NOT_CONFIGURED',
      `provider "${id}" is neither in the recording nor configured (known: ${[...infos.keys()].join(', ') || 'none'})`,
      { details: { provider: id, configured: [...infos.keys()] } },
    )
  }

  return {
    async get(id) {
      const info = getUsable(id)
      const known = providers.get(id)
      if (known) return known
      // The operations of functions and of the HTTP configuration are those of this process: asking for them sends
      // nothing. Those of servers are the recorded ones.
      const own = info.inProcess || info.kind === 'http' ? await configured.get(id).catch(() => undefined) : undefined
      const recorded = offered.get(id)
      const operations = own?.operations?.bind(own) ?? (recorded && (async () => recorded))
      const provider = createReplayedProvider(info, next, options, operations)
      providers.set(id, provider)
      return provider
    },
    assertUsable: (id) => void getUsable(id),
    list: () => [...infos.values()],
    setActive(id, active) {
      const info = infos.get(id)
      if (info) infos.set(id, { ...info, active })
      else getUsable(id)
    },
    close: () => configured.close(),
  }
}

const toOperation = (operation: Omit<ProviderOperation, 'check'>): ProviderOperation => ({
  ...operation,
  check: toForeignCheck(operation.input, 'arguments'),
})

type NextExchange = (provider: string, request: ModelRequest) => RecordedExchange

/** Hands out the exchanges of equal requests in order. */
function createSequences({ recording: { exchanges }, redact }: ReplayOptions): NextExchange {
  const byKey = new Map<string, RecordedExchange[]>()
  for (const exchange of exchanges) {
    const equal = byKey.get(exchange.key)
    if (equal) equal.push(exchange)
    else byKey.set(exchange.key, [exchange])
  }
  const served = new Map<string, number>()
  return (provider, request) => {
    const kept = toKeptRequest(provider, request, redact)
    const equal = byKey.get(kept.key) ?? []
    const position = served.get(kept.key) ?? 0
    const exchange = equal[position]
    if (!exchange) throw notRecorded(provider, request.model, kept.request, equal.length, exchanges)
    served.set(kept.key, position + 1)
    return exchange
  }
}

function createReplayedProvider(
  { id, kind, vendor, simulated, inProcess }: ProviderInfo,
  next: NextExchange,
  options: ReplayOptions,
  operations: Provider['operations'],
): Provider {
  return {
    id,
    kind,
    vendor,
    simulated,
    ...(inProcess && { inProcess }),
    ...(operations && { operations }),
    ping: async (signal) => signal.throwIfAborted(),
    async generate(request, listeners) {
      listeners.signal.throwIfAborted()
      const exchange = next(id, request)
      await deliver(exchange, listeners)
      return settle(exchange, listeners.signal, options)
    },
  }
}

/** Delivers the recorded chunks. The event loop runs between them, so that an abort is seen. */
async function deliver({ chunks, outcome }: RecordedExchange, options: GenerateOptions): Promise<void> {
  const { signal, onDelta, onReasoning, onVoid, onActivity } = options
  const whole = 'answer' in outcome && outcome.answer.text !== '' ? [outcome.answer.text] : []
  for (const chunk of onDelta ? (chunks ?? whole) : []) {
    await setImmediate()
    signal.throwIfAborted()
    onActivity?.()
    if (typeof chunk === 'string') onDelta?.(chunk)
    else if ('reasoning' in chunk) onReasoning?.(chunk.reasoning)
    else onVoid?.()
  }
  await setImmediate()
  signal.throwIfAborted()
}

/** Milliseconds within which a flow must end a request again that it ended while it was recorded. */
const ABORT_WITHIN_MS = 5_000

async function settle(
  exchange: RecordedExchange,
  signal: AbortSignal,
  { retryAfterCapMs, clock }: ReplayOptions,
): Promise<ModelResponse> {
  const { outcome } = exchange
  if ('answer' in outcome) return outcome.answer
  if ('error' in outcome) throw toRecordedError(outcome, retryAfterCapMs)
  if (outcome.facts) withCallFacts(signal, outcome.facts)
  await wait(clock, ABORT_WITHIN_MS, signal)
  throw new OrchestratorError(
    'NOT_RECORDED',
    `Expected the request to be ended by its flow, as it was while it was recorded; nothing ended it within ${ABORT_WITHIN_MS} ms (${toExchangeName(exchange)})`,
    { details: { provider: exchange.provider, file: toExchangeName(exchange) } },
  )
}

const MAX_NAMED = 5

function notRecorded(
  provider: string,
  model: string,
  request: RecordedExchange['request'],
  recordedTimes: number,
  exchanges: readonly RecordedExchange[],
): OrchestratorError {
  const details = { provider, model, recorded: recordedTimes }
  const expected = `Expected a recorded request like this one to ${provider}/${model}`
  if (recordedTimes > 0) {
    const message = `${expected}; it was recorded ${recordedTimes === 1 ? 'once' : `${recordedTimes} times`} and is made once more`
    return new OrchestratorError('NOT_RECORDED', message, { details })
  }
  const closest = findClosest(
    exchanges.filter((exchange) => exchange.provider === provider),
    request,
  )
  if (!closest) {
    return new OrchestratorError('NOT_RECORDED', `${expected}; none to this provider is in the recording`, { details })
  }
  const file = toExchangeName(closest.exchange)
  const named = closest.differing.slice(0, MAX_NAMED)
  const more = closest.differing.length - named.length
  const message = `${expected}; the closest one (${file}) differs in ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
  return new OrchestratorError('NOT_RECORDED', message, { details: { ...details, closest: file, differing: named } })
}
