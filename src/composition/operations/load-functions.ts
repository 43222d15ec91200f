import { pathToFileURL } from 'node:url'
import type { PolyphonyConfig } from '../../config/config.ts'
import { findFunctionProblems, type RegisteredFunctions } from '../../config/operations/function-settings.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** A configuration whose functions are loaded. */
export type LoadedConfig = PolyphonyConfig & { readonly functions: RegisteredFunctions }

/** Loads the module of functions that a configuration names. Rejects with CONFIG_INVALID. */
export const withFunctions = async (config: PolyphonyConfig): Promise<LoadedConfig> => ({
  ...config,
  functions: await loadFunctions(config),
})

/**
 * The functions of a configuration: given in code, or the exports of the module that it names. An export is a function
 * or an operation with `run`; the default export is an object of more of them. Rejects with CONFIG_INVALID.
 */
async function loadFunctions({ functions }: Pick<PolyphonyConfig, 'functions'>): Promise<RegisteredFunctions> {
  if (typeof functions !== 'string') return functions
  const { default: more, ...named } = await importModule(functions)
  const found: unknown = { ...(isObject(more) ? more : {}), ...named }
  const problems = findFunctionProblems(found)
  if (isFunctions(found, problems)) return found
  const lines = problems.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw invalid(functions, `expected exports that are functions, or objects with \`run\`, found: ${lines.join('; ')}`)
}

const isFunctions = (_: unknown, problems: readonly unknown[]): _ is RegisteredFunctions => problems.length === 0

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null

async function importModule(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(pathToFileURL(path).href)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ERR_UNKNOWN_FILE_EXTENSION') {
      throw invalid(path, 'this version of Node.js cannot load TypeScript: compile the module, or start Node.js with tsx', error)
    }
    throw invalid(
      path,
      `expected a module that can be loaded, found ${error instanceof Error ? error.message : String(error)}`,
      error,
    )
  }
}

const invalid = (path: string, message: string, cause?: unknown): OrchestratorError =>
  new OrchestratorError('CONFIG_INVALID', `functions: ${message} (${path})`, { details: { module: path }, cause })
