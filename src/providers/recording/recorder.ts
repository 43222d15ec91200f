import { randomUUID } from 'node:crypto'
import { appendFile, constants, copyFile, link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toCanonicalJson } from '../../prompts/request-key.ts'
import { readFacts } from './recording.ts'
import {
  EXCHANGES_FOLDER,
  FACTS_FILE,
  type Fact,
  RECORDING_VERSION,
  type RecordedExchange,
  toExchangeName,
  toPlainName,
} from './recording-format.ts'
import { createRedaction, type Redact } from './redaction.ts'

/** Writes a recording. Several processes may write to one directory at the same time. */
export interface Recorder {
  /** Removes the configured secrets from text. */
  readonly redact: Redact
  /** The number of the next request among its equals; called in the order in which requests start. */
  nextNumber(request: Pick<RecordedExchange, 'provider' | 'request' | 'key'>): number
  /**
   * Stores the exchange that the function builds, under the next free number if another process has taken its own.
   * Never rejects, because the answer is paid for and must not be lost: `close` does.
   */
  keep(build: () => RecordedExchange): Promise<void>
  /** Stores a fact, once; a list of operations also when it is as before another one. Never rejects. */
  note(fact: Fact): Promise<void>
  /** Resolves when everything is stored. Rejects with the first error of a write. */
  close(): Promise<void>
}

export interface RecorderOptions {
  readonly directory: string
  /** Texts that must not be stored. */
  readonly secrets: readonly string[]
}

/**
 * Opens a directory for a recording and creates it where it is missing. Further exchanges are added to an existing
 * recording. Rejects with CONFIG_INVALID for a directory that cannot be written and for a recording of another version.
 */
export async function openRecorder({ directory, secrets }: RecorderOptions): Promise<Recorder> {
  const folder = join(directory, EXCHANGES_FOLDER)
  const factsFile = join(directory, FACTS_FILE)
  const numbers = new Map<string, number>()
  const noted = new Map<string, string>()
  const pending = new Set<Promise<void>>()
  let failure: unknown

  const seriesOf = ({ provider, request, key }: Pick<RecordedExchange, 'provider' | 'request' | 'key'>): string =>
    toExchangeName({ provider, request, key, number: 0 }).replace(/-0\.json$/, '')

  let appended: Promise<unknown> = Promise.resolve()
  /** In the order of the facts, because the newest list of operations counts. */
  const append = (fact: Fact): Promise<void> => {
    const stored = appended.then(() => appendFile(factsFile, `${JSON.stringify(fact)}\n`))
    appended = stored.catch(() => undefined)
    return stored
  }

  try {
    await mkdir(folder, { recursive: true })
    const facts = await readFacts(directory, await readFile(factsFile, 'utf8').catch(missingAsEmpty))
    if (facts.length === 0) await append({ kind: 'recording', version: RECORDING_VERSION })
    for (const name of await readdir(folder)) {
      const [, series, number] = /^(.+)-(\d+)\.json$/.exec(name) ?? []
      if (series !== undefined) numbers.set(series, Math.max(numbers.get(series) ?? 0, Number(number)))
    }
  } catch (error) {
    if (OrchestratorError.is(error)) throw error
    throw unwritable(directory, error)
  }

  /** A file appears under its name only when it is complete, and never replaces another one. */
  async function store(exchange: RecordedExchange): Promise<void> {
    const draft = join(directory, `.${toPlainName(exchange.provider)}-${randomUUID()}.tmp`)
    try {
      let { number } = exchange
      for (;;) {
        const numbered = { ...exchange, number }
        await writeFile(draft, `${JSON.stringify(toOrdered(numbered), null, 2)}\n`)
        if (await placed(draft, join(folder, toExchangeName(numbered)))) return
        number = nextNumber(exchange)
      }
    } finally {
      await rm(draft, { force: true })
    }
  }

  function nextNumber(request: Pick<RecordedExchange, 'provider' | 'request' | 'key'>): number {
    const series = seriesOf(request)
    const number = (numbers.get(series) ?? 0) + 1
    numbers.set(series, number)
    return number
  }

  function track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => pending.delete(tracked))
    pending.add(tracked)
    return tracked
  }

  return {
    redact: createRedaction(secrets),
    nextNumber,
    keep: (build) => track(Promise.resolve().then(() => store(build()))),
    note(fact) {
      const text = JSON.stringify(fact)
      // Ids of two equal threads or flows differ, so every other line that is equal says nothing new.
      const subject = fact.kind === 'operations' ? `operations of ${fact.provider}` : text
      if (noted.get(subject) === text) return Promise.resolve()
      noted.set(subject, text)
      return track(append(fact))
    },
    async close() {
      while (pending.size > 0) await Promise.all(pending)
      if (failure !== undefined) throw incomplete(directory, failure)
    },
  }
}

/** The fields in a fixed order. */
const toOrdered = ({ provider, key, number, request, chunks, outcome }: RecordedExchange) => ({
  provider,
  key,
  number,
  request: toCanonicalJson(request),
  chunks,
  outcome: toCanonicalJson(outcome),
})

/** Whether the draft got the name; false if the name is taken. */
async function placed(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
  }
  try {
    // Some file systems have no links.
    await copyFile(draft, path, constants.COPYFILE_EXCL)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

function missingAsEmpty(error: unknown): string {
  if (codeOf(error) === 'ENOENT') return ''
  throw error
}

const unwritable = (directory: string, error: unknown): OrchestratorError =>
  new OrchestratorError(
    'CONFIG_INVALID',
    `record: expected a directory that can be written, found ${String(codeOf(error) ?? error)} (${directory})`,
    { details: { key: 'record', directory }, cause: error },
  )

const incomplete = (directory: string, error: unknown): OrchestratorError =>
  new OrchestratorError(
    'INTERNAL',
    `The recording in ${directory} is incomplete, because a file could not be written (${String(codeOf(error) ?? error)}); record again`,
    { details: { directory }, cause: error },
  )
