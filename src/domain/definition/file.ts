import type { Document, LineCounter, Node } from 'yaml'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DefinitionProblem } from './flow-definition.ts'
import { definitionError } from './problems.ts'

export interface DefinitionText {
  /** What the text says, for the definition parser. */
  readonly value: unknown
  /** Where the value at a path such as `steps[2].inputFrom` stands, or the nearest thing around it. */
  find(path: string): SourceLocation | undefined
  /** A FLOW_INVALID of the parser with the lines and columns of its problems; any other error as it is. */
  withPositions(error: unknown): unknown
}

export interface TextOptions {
  /** Without one, text that begins with `{` is JSON. */
  readonly format?: 'yaml' | 'json'
  /** Name of the file, which problems then carry. */
  readonly file?: string
}

export type SourceLocation = Pick<DefinitionProblem, 'file' | 'line' | 'column'>

type Yaml = typeof import('yaml')

/** Characters of a definition file. */
const MAX_LENGTH = 5_000_000
/** Values that the aliases of one YAML file may stand for. */
const MAX_ALIASES = 100

/**
 * Reads a definition written as YAML or JSON.
 * Rejects with FLOW_INVALID whose problem has line and column, from 1. The YAML package loads at the first call.
 */
export async function parseDefinitionText(source: string, { format, file }: TextOptions = {}): Promise<DefinitionText> {
  // A byte order mark, which editors write and JSON does not know.
  const text = source.replace(/^\ufeff/, '')
  const failed = (message: string, place: SourceLocation = {}) =>
    definitionError([{ path: 'file', message, ...(file !== undefined && { file }), ...place }])
  if (text.length > MAX_LENGTH) throw failed(`expected at most ${MAX_LENGTH} characters, found ${text.length}`)
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  const isJson = format === 'json' || (format === undefined && text.trimStart().startsWith('{'))
  const reading = <T>(read: () => T): T => {
    try {
      return read()
    } catch (error) {
      throw failed(error instanceof Error ? error.message : String(error))
    }
  }
  const document = reading(() => yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: false }))
  const [error] = document.errors
  if (error) throw failed(error.message, placeOf(lines, error.pos[0]))
  const value: unknown = reading(() => (isJson ? readJson(text) : document.toJS({ maxAliasCount: MAX_ALIASES })))
  const find = (path: string): SourceLocation | undefined => {
    const place = findPlace(yaml, document, lines, path)
    return file === undefined ? place : { file, ...place }
  }
  return { value, find, withPositions: (thrown) => withPositions(thrown, find) }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error('expected JSON; comments, single quotes and trailing commas are YAML')
  }
}

function placeOf(lines: LineCounter, offset: number): SourceLocation {
  const { line, col } = lines.linePos(offset)
  return { line, column: col }
}

function withPositions(error: unknown, find: (path: string) => SourceLocation | undefined): unknown {
  if (!OrchestratorError.is(error) || !Array.isArray(error.details.problems)) return error
  const problems: readonly DefinitionProblem[] = error.details.problems
  return definitionError(problems.map((problem) => ({ ...problem, ...find(problem.path) })))
}

/** Where the value at a path stands, or the nearest thing around it. */
function findPlace(yaml: Yaml, document: Document.Parsed, lines: LineCounter, path: string): SourceLocation | undefined {
  let node: unknown = document.contents
  let offset = startOf(node)
  for (const [, key, index] of path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)) {
    if (yaml.isAlias(node)) node = node.resolve(document)
    if (yaml.isMap(node) && key !== undefined) {
      const pair = node.items.find((item) => yaml.isScalar(item.key) && item.key.value === key)
      if (!pair) break
      offset = startOf(pair.key) ?? offset
      node = pair.value
    } else if (yaml.isSeq(node) && index !== undefined) {
      node = node.items[Number(index)]
      offset = startOf(node) ?? offset
    } else break
  }
  return offset === undefined ? undefined : placeOf(lines, offset)
}

const startOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined)

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'range' in value
