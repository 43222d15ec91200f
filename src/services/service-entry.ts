import type { ServiceDefinition } from '../domain/services/service-schema.ts'
import type { ServiceBody } from './bodies.ts'
import type { BoundedCalls } from './calls/bounded-calls.ts'
import type { ServiceLife } from './life/service-life.ts'
import type { InProcessService } from './service.ts'

/** One registered service. */
export interface ServiceEntry {
  readonly id: string
  readonly definition: ServiceDefinition
  readonly handlers?: InProcessService
  readonly body: ServiceBody
  /** Whether it takes one of the slots of `maxConcurrent` while it runs. */
  readonly takesSlot: boolean
  /** Keeps the limits of `Services.call`. */
  readonly bounded: BoundedCalls
  readonly life: ServiceLife
}
