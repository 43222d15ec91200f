import { readFile } from 'node:fs/promises'
import type { DefinitionText } from '../../domain/definition/file.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { decodeText } from '../decode-text.ts'

/** A definition that was read from a file. */
export interface DefinitionOfFile {
  readonly definition: FlowDefinitionInput
  /** Finds line and column of a path of the definition in its file. */
  readonly find: DefinitionText['find']
}

/** Whether the name of a flow is the path of a file and not a name of a template or of a saved flow. */
export const isDefinitionFile = (name: string): boolean => /\.(ya?ml|json)$/i.test(name) || /[\\/]/.test(name)

/**
 * Reads a definition from YAML or JSON. Rejects with INPUT_INVALID for an unreadable file, and with FLOW_INVALID, which
 * names file, line and column of every problem.
 */
export async function readDefinitionFile(path: string, parser: DefinitionParser): Promise<DefinitionOfFile> {
  const [text, { parseDefinitionText }] = await Promise.all([readText(path), import('../../domain/definition/file.ts')])
  const parsed = await parseDefinitionText(text, {
    format: path.toLowerCase().endsWith('.json') ? 'json' : 'yaml',
    file: path,
  })
  const isDefinition = (value: unknown): value is FlowDefinitionInput => parser.parse(value) !== undefined
  try {
    if (isDefinition(parsed.value)) return { definition: parsed.value, find: parsed.find }
  } catch (error) {
    throw parsed.withPositions(error)
  }
  throw new OrchestratorError('INTERNAL', 'expected the parser to throw for a definition that it does not accept')
}

async function readText(path: string): Promise<string> {
  try {
    return decodeText(await readFile(path), { name: path, code: 'INPUT_INVALID' })
  } catch (error) {
    if (OrchestratorError.is(error)) throw error
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const found = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a directory' : String(code)
    throw new OrchestratorError('INPUT_INVALID', `expected a definition file, found ${found}: ${path}`, { details: { path } })
  }
}
