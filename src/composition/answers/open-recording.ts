import { systemClock } from '../../async/clock.ts'
import type { LedgerDeps } from '../../calls/attempt-ledger.ts'
import type { Logger, PolyphonyConfig } from '../../config/config.ts'
import { createFlowId } from '../../orchestrator/flows/flow-id.ts'
import { digestOf, toCanonicalJson } from '../../prompts/request-key.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Store } from '../../repositories/repository.ts'
import { configuredSecretsOf } from './configured-secrets.ts'

/** What recording or replaying changes about an instance. */
export interface OpenRecording {
  /** Whether answers come from the recording. Then no rate is limited, and retries do not wait. */
  readonly isReplay: boolean
  readonly wrapProviders: (providers: ProviderService) => ProviderService
  /** Costs of replayed answers are the recorded ones, so that a new price list does not change them. */
  readonly wrapPrice: (price: LedgerDeps['price']) => LedgerDeps['price']
  readonly newFlowId: (stored: unknown) => Promise<string>
  readonly newThreadId: (title: string | undefined) => Promise<string>
  close(): Promise<void>
}

const isTemporary = (database: PolyphonyConfig['database']): boolean =>
  typeof database === 'string' && /^(memory:|pglite:\/\/memory$)/.test(database)

type IdKind = 'flow' | 'thread'

const keyOf = (kind: IdKind, facts: unknown): string => digestOf([kind, toCanonicalJson(facts) ?? null])

const newIdOf = (kind: IdKind): string => (kind === 'flow' ? createFlowId() : crypto.randomUUID())

/**
 * Opens the directory that `record` or `replay` names; `undefined` without either. The modules are loaded only then.
 * Rejects with CONFIG_INVALID.
 */
export async function openRecording(
  config: PolyphonyConfig,
  store: Pick<Store, 'flows' | 'threads'>,
  warn: Logger['warn'],
): Promise<OpenRecording | undefined> {
  const { record, replay, database } = config
  if (replay !== undefined && !isTemporary(database)) {
    warn('answers are replayed, and their costs count again in this database: use memory:// unless it is one for tests')
  }
  if (record !== undefined) return openRecorded(config, record)
  return replay === undefined ? undefined : openReplayed(config, replay, store)
}

async function openRecorded(config: PolyphonyConfig, directory: string): Promise<OpenRecording> {
  const [{ openRecorder }, { createRecordedProviders }] = await Promise.all([
    import('../../providers/recording/recorder.ts'),
    import('../../providers/recording/recorded-providers.ts'),
  ])
  const recorder = await openRecorder({ directory, secrets: configuredSecretsOf(config) })
  const newId = async (kind: IdKind, facts: unknown) => {
    const id = newIdOf(kind)
    await recorder.note({ kind, key: keyOf(kind, facts), id })
    return id
  }
  return {
    isReplay: false,
    wrapProviders: (providers) => createRecordedProviders(providers, recorder),
    wrapPrice: (price) => (provider, answer, usage) => {
      const cost = price(provider, answer, usage)
      const note = (known: Awaited<typeof cost>) =>
        void recorder.note({ kind: 'cost', answer: toPricedFacts(provider, answer, usage), ...(known && { cost: known }) })
      if (cost instanceof Promise) void cost.then(note, () => undefined)
      else note(cost)
      return cost
    },
    newFlowId: (stored) => newId('flow', stored),
    newThreadId: (title) => newId('thread', title),
    close: recorder.close,
  }
}

async function openReplayed(
  config: PolyphonyConfig,
  directory: string,
  { flows, threads }: Pick<Store, 'flows' | 'threads'>,
): Promise<OpenRecording> {
  const [{ readRecording }, { createReplayedProviders }, { createRedaction }] = await Promise.all([
    import('../../providers/recording/recording.ts'),
    import('../../providers/recording/replayed-providers.ts'),
    import('../../providers/recording/redaction.ts'),
  ])
  const recording = await readRecording(directory)
  const { retryAfterCapMs } = config.retry
  const options = { recording, redact: createRedaction(configuredSecretsOf(config)), retryAfterCapMs, clock: systemClock }
  const costs = new Map(recording.facts.flatMap((fact) => (fact.kind === 'cost' ? [[digestOf(fact.answer), fact.cost]] : [])))
  const ids = new Map<string, string[]>()
  for (const fact of recording.facts) {
    if (fact.kind !== 'flow' && fact.kind !== 'thread') continue
    const known = ids.get(fact.key)
    if (known) known.push(fact.id)
    else ids.set(fact.key, [fact.id])
  }
  const recordedId = async (kind: IdKind, facts: unknown) => {
    const id = ids.get(keyOf(kind, facts))?.shift()
    // A database that holds the recorded flow already gets a new one.
    const isFree = id !== undefined && !(await (kind === 'flow' ? flows.find(id) : threads.find(id)))
    return isFree ? id : newIdOf(kind)
  }
  return {
    isReplay: true,
    wrapProviders: (providers) => createReplayedProviders(providers, options),
    wrapPrice: (price) => (provider, answer, usage) => {
      const key = digestOf(toPricedFacts(provider, answer, usage))
      return costs.has(key) ? costs.get(key) : price(provider, answer, usage)
    },
    newFlowId: (stored) => recordedId('flow', stored),
    newThreadId: (title) => recordedId('thread', title),
    close: async () => {},
  }
}

/** What the cost of an answer depends on. */
function toPricedFacts(...[provider, { model, requestedModel, serviceTier }, usage]: Parameters<LedgerDeps['price']>) {
  return {
    provider,
    model,
    requestedModel,
    ...(serviceTier !== undefined && { serviceTier }),
    usage: toCanonicalJson(usage) ?? null,
  }
}
