import { callFactsOf } from '../../domain/execution/call-facts.ts'
import type { ModelResponse } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toCanonicalJson } from '../../prompts/request-key.ts'
import type { GenerateOptions, Provider, ProviderOperation, ProviderService } from '../provider.ts'
import { toOutcome } from './outcomes.ts'
import type { Recorder } from './recorder.ts'
import { type Chunk, type Fact, factSchema, type Outcome } from './recording-format.ts'
import { type Redact, redactChunks, toKeptRequest } from './redaction.ts'

/** The providers of a service, with every request and its outcome written to a recording. */
export function createRecordedProviders(providers: ProviderService, recorder: Recorder): ProviderService {
  const recorded = new WeakMap<Provider, Provider>()
  return {
    ...providers,
    async get(id) {
      const provider = await providers.get(id)
      const known = recorded.get(provider)
      if (known) return known
      const wrapped = createRecordedProvider(provider, recorder)
      recorded.set(provider, wrapped)
      return wrapped
    },
  }
}

/** A provider whose exchanges are kept. Its answers and errors are passed on unchanged. */
export function createRecordedProvider(provider: Provider, recorder: Recorder): Provider {
  const { id, kind, vendor, simulated, inProcess, inHouse } = provider
  const reach = { ...(inProcess && { inProcess }), ...(inHouse && { inHouse }) }
  const identity = { kind: 'provider', id, adapter: kind, vendor, simulated, ...reach } as const
  return {
    id,
    kind,
    vendor,
    simulated,
    ...reach,
    ...(provider.operations && {
      async operations(signal?: AbortSignal) {
        const operations = (await provider.operations?.(signal)) ?? []
        void recorder.note(identity)
        void recorder.note(toOperationsFact(id, operations, recorder.redact))
        return operations
      },
    }),
    ...(provider.ping && { ping: (signal: AbortSignal) => provider.ping?.(signal) ?? Promise.resolve() }),
    async generate(request, options) {
      options.signal.throwIfAborted()
      void recorder.note(identity)
      const kept = { provider: id, ...toKeptRequest(id, request, recorder.redact) }
      const number = recorder.nextNumber(kept)
      const chunks: Chunk[] = []
      const keep = (outcome: Outcome) =>
        recorder.keep(() => ({
          ...kept,
          number,
          ...(options.onDelta && { chunks: redactChunks(chunks, recorder.redact) }),
          outcome: toOutcome(outcome, recorder.redact),
        }))
      try {
        const answer = await withinGrace(provider.generate(request, listening(options, chunks)), options.signal)
        await keep({ answer })
        return answer
      } catch (error) {
        const kept = keep(outcomeOf(error, options.signal))
        // The caller of an aborted request must not wait for a disk.
        if (!options.signal.aborted) await kept
        throw error
      }
    },
  }
}

/** What a provider offers, so that a replay can show it to models and check arguments without the provider. */
const toOperationsFact = (provider: string, operations: readonly ProviderOperation[], redact: Redact): Fact =>
  factSchema.parse(
    toCanonicalJson(
      { kind: 'operations', provider, operations: operations.map(({ check: _, ...operation }) => operation) },
      redact,
    ),
  )

/** Passes everything on to the listeners of the caller, and keeps it. */
const listening = (options: GenerateOptions, chunks: Chunk[]): GenerateOptions => {
  const { onDelta, onReasoning, onVoid } = options
  if (!onDelta) return options
  return {
    ...options,
    onDelta(text) {
      chunks.push(text)
      onDelta(text)
    },
    onReasoning(reasoning) {
      chunks.push({ reasoning })
      onReasoning?.(reasoning)
    },
    onVoid() {
      chunks.push({ void: true })
      onVoid?.()
    },
  }
}

/**
 * A timeout is kept as an error, because a replay that waited for it would take as long again. Every other abort comes
 * from the flow, which ends the replayed request likewise.
 */
function outcomeOf(error: unknown, signal: AbortSignal): Outcome {
  const facts = callFactsOf(error === signal.reason ? signal : error)
  if (signal.aborted && !isTimeout(signal.reason)) return { aborted: true, facts }
  return { error: OrchestratorError.is(error) ? error.toJSON() : { message: messageOf(error) }, facts }
}

const isTimeout = (reason: unknown): boolean =>
  OrchestratorError.is(reason) && (reason.code === 'STEP_TIMEOUT' || reason.details.timeout !== undefined)

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Milliseconds within which a provider must end an aborted request. */
const ABORT_GRACE_MS = 100

/** Settles as the request does; rejects if it is aborted and its provider does not end it. */
async function withinGrace(request: Promise<ModelResponse>, signal: AbortSignal): Promise<ModelResponse> {
  let timer: NodeJS.Timeout | undefined
  let onAbort = () => {}
  const givenUp = new Promise<never>((_, reject) => {
    onAbort = () => {
      timer = setTimeout(() => reject(signal.reason), ABORT_GRACE_MS)
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    const answer = await Promise.race([request, givenUp])
    signal.throwIfAborted()
    return answer
  } finally {
    signal.removeEventListener('abort', onAbort)
    clearTimeout(timer)
  }
}
