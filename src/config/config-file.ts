import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { decodeText } from './decode-text.ts'
import { type ConfigLayer, isGroup } from './layers.ts'

/** Possible names of the configuration file. A directory must contain at most one of them. */
const FILE_NAMES = ['polyphony.yaml', 'polyphony.yml', 'polyphony.json'] as const

/**
 * Reads `polyphony.yaml`, `.yml` or `.json` from a directory; `undefined` without such a file. The YAML parser, which
 * also parses JSON, is loaded only if a file exists. Rejects with CONFIG_INVALID for an invalid file and for several
 * files.
 */
export async function readConfigFile(directory: string): Promise<ConfigLayer | undefined> {
  const found = FILE_NAMES.flatMap((name) => {
    const text = readIfThere(directory, name)
    return text === undefined ? [] : [{ name, text }]
  })
  const [file, second] = found
  if (!file) return undefined
  if (second) throw invalid(file.name, `expected one configuration file, found ${second.name} too: keep one of them`)
  return readDocument(file.name, file.text)
}

/**
 * The keys and values of a YAML text as a layer that knows their positions. Rejects with CONFIG_INVALID for text
 * without keys and values.
 */
export async function readDocument(name: string, text: string): Promise<ConfigLayer> {
  const { LineCounter, isMap, isNode, isPair, isScalar, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [syntaxError] = document.errors
  if (syntaxError) throw invalid(name, `expected YAML, found: ${syntaxError.message}`, lines.linePos(syntaxError.pos[0]))
  const values = toValues(name, () => document.toJS({ maxAliasCount: 100 }))
  if (!isGroup(values)) throw invalid(name, 'expected keys and values', { line: 1, col: 1 })

  const positionOf = (path: readonly PropertyKey[]): Position | undefined => {
    let node: unknown = document.contents
    let offset: number | undefined
    for (const key of path) {
      if (!isMap(node)) break
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key))
      if (!pair) break
      if (isNode(pair.key)) offset = pair.key.range?.[0]
      node = pair.value
    }
    return offset === undefined ? undefined : lines.linePos(offset)
  }
  return {
    values,
    sourceOf: (path) => ({ kind: 'file', place: toSourceLabel(name, positionOf(path)) }),
  }
}

/** Position in the file; line and column count from 1. */
interface Position {
  readonly line: number
  readonly col: number
}

const toSourceLabel = (name: string, position?: Position): string =>
  position === undefined ? name : `${name}:${position.line}:${position.col}`

/** Reads the document. Throws CONFIG_INVALID for aliases that would expand to a huge value. */
function toValues(name: string, read: () => unknown): unknown {
  try {
    return read() ?? {}
  } catch {
    throw invalid(name, 'expected no more than 100 uses of aliases')
  }
}

/** Text of a file; `undefined` without such a file. Throws CONFIG_INVALID for a file that cannot be read. */
export function readIfThere(directory: string, name: string): string | undefined {
  try {
    return decodeText(readFileSync(join(directory, name)), { name, code: 'CONFIG_INVALID' })
  } catch (error) {
    if (OrchestratorError.is(error)) throw error
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw invalid(name, `expected a readable file, found ${String(code)}`)
  }
}

function invalid(name: string, message: string, position?: Position): OrchestratorError {
  const source = toSourceLabel(name, position)
  return new OrchestratorError('CONFIG_INVALID', `${source}: ${message}`, { details: { source } })
}
