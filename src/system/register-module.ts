import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/**
 * Loads a module and passes `value` to its default export, which is a function. Rejects with CONFIG_INVALID if the
 * module cannot be loaded or has no such export.
 */
export async function registerModule(modulePath: string, value: unknown): Promise<void> {
  const invalid = (message: string, cause?: unknown) =>
    new OrchestratorError('CONFIG_INVALID', message, { details: { module: modulePath }, cause })
  const loaded: unknown = await import(pathToFileURL(resolve(modulePath)).href).catch((cause: unknown) => {
    throw invalid(`--register: expected a module that can be loaded, found an error in "${modulePath}"`, cause)
  })
  const register: unknown = typeof loaded === 'object' && loaded !== null ? Reflect.get(loaded, 'default') : undefined
  if (typeof register !== 'function') {
    throw invalid(`--register: expected a module whose default export is a function, found ${typeof register} in "${modulePath}"`)
  }
  await register(value)
}
