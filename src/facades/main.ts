import { createOrchestraServices } from '../composition/services/create-services.ts'
import { type OrchestraOptions, ServiceOrchestra } from './orchestra.ts'

/**
 * Manages services: their lives, health, events and calls. Starts nothing by itself; `close` stops what it started.
 *
 * ```ts
 * import { Orchestra } from 'polyphony'
 *
 * const orchestra = new Orchestra({ maxConcurrentServices: 10, retryAttempts: 3 })
 * await orchestra.registerService({ id: 'writer', name: 'Writer', type: 'llm', config: { model: 'claude-3-sonnet' } })
 * await orchestra.startService('writer')
 * console.log(orchestra.getServiceStatus('writer'))
 * await orchestra.close()
 * ```
 */
export class Orchestra extends ServiceOrchestra {
  /** Throws CONFIG_INVALID, which names every wrong option. */
  constructor(options: OrchestraOptions = {}) {
    super(options, createOrchestraServices)
  }
}
