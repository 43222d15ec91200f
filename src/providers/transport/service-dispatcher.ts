import { Agent, type Dispatcher } from 'undici'
import { createServiceLookup } from '../../system/named-addresses.ts'
import type { ResolveName } from '../../system/public-addresses.ts'

/**
 * Opens the connections to services: to addresses of this machine and to those that the operator may name, which are
 * checked when the name is resolved. `resolve`: default, the resolver of the system.
 */
export const createServiceDispatcher = (resolve?: ResolveName): Dispatcher =>
  // The call layers bound the time.
  new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { lookup: createServiceLookup(resolve) } })

/** One for all services. Its idle connections do not keep the process alive. */
export const SERVICE_DISPATCHER = createServiceDispatcher()
