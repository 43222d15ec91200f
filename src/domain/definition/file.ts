import type { Document, LineCounter, Node } from 'yaml'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DefinitionProblem } from './flow-definition.ts'
import { definitionError } from './problems.ts'

export interface DefinitionText {
  /** The parsed YAML or JSON value, for the definition parser. */
  readonly value: unknown
  /** Location of the value at a path such as `steps[2].inputFrom`, or of the nearest value around it. */
  find(path: string): SourceLocation | undefined
  /** Adds lines and columns to the problems of a FLOW_INVALID; returns any other error unchanged. */
  withPositions(error: unknown): unknown
}

export interface TextOptions {
  /** Default: text that begins with `{` is JSON, any other YAML. */
  readonly format?: 'yaml' | 'json'
  /** Name of the file, for the location of problems. */
  readonly file?: string
}

export type SourceLocation = Pick<DefinitionProblem, 'file' | 'line' | 'column'>

type Yaml = typeof import('yaml')

/** Maximum characters of a definition file. */
const MAX_LENGTH = 5_000_000
/** Maximum values that the aliases of one YAML file may expand to. */
const MAX_ALIASES = 100

/**
 * Reads a definition written as YAML or JSON.
 * Rejects with FLOW_INVALID whose problem has line and column, from 1. The YAML package loads at the first call.
 */
export async function parseDefinitionText(source: string, { format, file }: TextOptions = {}): Promise<DefinitionText> {
  // Editors may write a byte order mark, which JSON does not allow.
  const text = source.replace(/^\ufeff/, '')
  const failed = (message: string, location: SourceLocation = {}) =>
    definitionError([{ path: 'file', message, ...(file !== undefined && { file }), ...location }])
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
  if (error) throw failed(error.message, locationAt(lines, error.pos[0]))
  const value: unknown = reading(() => (isJson ? readJson(text) : document.toJS({ maxAliasCount: MAX_ALIASES })))
  const find = (path: string): SourceLocation | undefined => {
    const location = findLocation(yaml, document, lines, path)
    return file === undefined ? location : { file, ...location }
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

function locationAt(lines: LineCounter, offset: number): SourceLocation {
  const { line, col } = lines.linePos(offset)
  return { line, column: col }
}

function withPositions(error: unknown, find: (path: string) => SourceLocation | undefined): unknown {
  if (!OrchestratorError.is(error) || !Array.isArray(error.details.problems)) return error
  const problems: readonly DefinitionProblem[] = error.details.problems
  return definitionError(problems.map((problem) => ({ ...problem, ...find(problem.path) })))
}

/** Location of the value at a path, or of the nearest value around it. */
function findLocation(yaml: Yaml, document: Document.Parsed, lines: LineCounter, path: string): SourceLocation | undefined {
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
  return offset === undefined ? undefined : locationAt(lines, offset)
}

const startOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined)

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'range' in value
