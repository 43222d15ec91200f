import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type ConfigLayer, isGroup } from './layers.ts'

const FILE_NAME = 'polyphony.yaml'

/** What `polyphony.yaml` in the directory says, or `undefined` where there is none. The YAML reader is loaded only for a file that exists. */
export async function readConfigFile(directory: string): Promise<ConfigLayer | undefined> {
  const text = readIfThere(join(directory, FILE_NAME))
  if (text === undefined) return undefined
  const { LineCounter, isMap, isNode, isPair, isScalar, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [syntaxError] = document.errors
  if (syntaxError) throw invalid(`expected YAML, found: ${syntaxError.message}`, lines.linePos(syntaxError.pos[0]).line)
  const values = toValues(() => document.toJS({ maxAliasCount: 100 }))
  if (!isGroup(values)) throw invalid('expected keys and values', 1)

  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    let node: unknown = document.contents
    let offset: number | undefined
    for (const key of path) {
      if (!isMap(node)) break
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key))
      if (!pair) break
      if (isNode(pair.key)) offset = pair.key.range?.[0]
      node = pair.value
    }
    return offset === undefined ? undefined : lines.linePos(offset).line
  }
  return {
    values,
    sourceOf: (path) => {
      const line = lineOf(path)
      return { kind: 'file', place: line === undefined ? FILE_NAME : `${FILE_NAME}:${line}` }
    },
  }
}

/** Throws where aliases would multiply into a huge value. */
function toValues(read: () => unknown): unknown {
  try {
    return read() ?? {}
  } catch {
    throw invalid('expected no more than 100 uses of aliases')
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return undefined
    throw invalid(`expected a readable file, found ${String(code)}`)
  }
}

function invalid(message: string, line?: number): OrchestratorError {
  const source = line === undefined ? FILE_NAME : `${FILE_NAME}:${line}`
  return new OrchestratorError('CONFIG_INVALID', `${source}: ${message}`, { details: { source } })
}
