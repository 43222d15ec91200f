import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import {
  EXCHANGES_FOLDER,
  exchangeSchema,
  FACTS_FILE,
  type Fact,
  factSchema,
  type RecordedExchange,
  toExchangeName,
} from './recording-format.ts'
import { recordingKeyOf } from './redaction.ts'

/** A complete recording, read once. */
export interface Recording {
  readonly directory: string
  readonly facts: readonly Fact[]
  /** All exchanges; equal requests in the order of their numbers. */
  readonly exchanges: readonly RecordedExchange[]
}

/**
 * Reads a recording. Rejects with CONFIG_INVALID, which names the file and the line, for one that is missing, of
 * another version, unreadable or changed so that a request does not fit its name.
 */
export async function readRecording(directory: string): Promise<Recording> {
  const factsFile = join(directory, FACTS_FILE)
  const text = await readFile(factsFile, 'utf8').catch((error: unknown) => {
    throw invalid(directory, FACTS_FILE, undefined, `expected a recording made with --record, found ${reasonOf(error)}`)
  })
  const facts = await readFacts(directory, text)
  if (facts[0]?.kind !== 'recording') throw invalid(directory, FACTS_FILE, 1, 'expected the version of the recording first')
  const folder = join(directory, EXCHANGES_FOLDER)
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json')).sort()
  const exchanges: RecordedExchange[] = []
  for (const name of names) {
    const file = `${EXCHANGES_FOLDER}/${name}`
    const exchange = await parseFile(directory, file, await readFile(join(folder, name), 'utf8'), 0, exchangeSchema)
    if (recordingKeyOf(exchange.provider, exchange.request) !== exchange.key) {
      throw invalid(
        directory,
        file,
        3,
        'expected the key of the request below, found another one: the file was changed; record it again',
      )
    }
    if (toExchangeName(exchange) !== name) {
      throw invalid(directory, file, 1, `expected the name ${toExchangeName(exchange)}: the file was renamed or changed`)
    }
    exchanges.push(exchange)
  }
  return { directory, facts, exchanges: exchanges.sort((a, b) => a.number - b.number) }
}

/** The facts of `recording.jsonl`, one per line. */
export async function readFacts(directory: string, text: string): Promise<readonly Fact[]> {
  const facts: Fact[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line !== '') facts.push(await parseFile(directory, FACTS_FILE, line, index, factSchema))
  }
  return facts
}

/** Parses JSON that begins after `linesBefore` lines of a file. */
async function parseFile<Schema extends z.ZodType>(
  directory: string,
  file: string,
  text: string,
  linesBefore: number,
  schema: Schema,
): Promise<z.output<Schema>> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    const line = await lineOf(text, [])
    throw invalid(directory, file, linesBefore + line, 'expected JSON')
  }
  const parsed = schema.safeParse(value, { jitless: true })
  if (parsed.success) return parsed.data
  const { path, message } = deepest(parsed.error.issues)
  const line = linesBefore + (await lineOf(text, path))
  throw invalid(directory, file, line, `${path.map(String).join('.') || 'the whole'}: ${message}`)
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>

/** The problem that lies deepest, because a union reports only that no member fits. */
function deepest(issues: readonly z.core.$ZodIssue[]): Issue {
  const [first] = issues
  if (!first) return { path: [], message: 'expected an exchange' }
  if (first.code !== 'invalid_union') return first
  const nested = first.errors.filter((list) => list.length > 0).map((list) => deepest(list))
  const best = nested.sort((a, b) => b.path.length - a.path.length)[0]
  return best ? { path: [...first.path, ...best.path], message: best.message } : first
}

/** The line of a value from 1, or of the first error of the syntax. The parser with positions is loaded only here. */
async function lineOf(text: string, path: readonly PropertyKey[]): Promise<number> {
  const { isNode, LineCounter, parseDocument } = await import('yaml')
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false })
  const [syntaxError] = document.errors
  if (syntaxError) return lineCounter.linePos(syntaxError.pos[0]).line
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true)
    if (isNode(node) && node.range) return lineCounter.linePos(node.range[0]).line
  }
  return 1
}

const reasonOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : String(error))

function invalid(directory: string, file: string, line: number | undefined, message: string): OrchestratorError {
  const location = line === undefined ? file : `${file}:${line}`
  return new OrchestratorError('CONFIG_INVALID', `${location}: ${message} (${directory})`, { details: { directory, file, line } })
}
