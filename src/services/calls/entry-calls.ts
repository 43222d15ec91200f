import { fillPlaceholders } from '../../domain/services/placeholders.ts'
import type { ProviderCalls } from '../provider-calls.ts'
import type { ServiceAnswer, ServiceRequest } from '../service.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { CallService } from './service-calls.ts'

interface EntryCallsDeps {
  readonly providerCalls: Pick<ProviderCalls, 'refresh' | 'reach' | 'begin'>
  readonly call: CallService
}

/** Returns the function that calls a registered service while it runs; see `Services.call`. */
export function createEntryCalls({ providerCalls, call }: EntryCallsDeps) {
  return async (entry: ServiceEntry, request: ServiceRequest, signal: AbortSignal | undefined): Promise<ServiceAnswer> => {
    const { id, handlers, definition, bounded } = entry
    const refreshing = providerCalls.refresh(entry, signal)
    // Otherwise the call is counted before anything else happens.
    if (refreshing) await refreshing
    const { endpoint, ended, isElsewhere } = providerCalls.reach(entry)
    const end = providerCalls.begin(entry)
    let succeeded = false
    try {
      const signals = [signal, ended].filter((one) => one !== undefined)
      const callee = {
        id,
        config: definition.config ?? {},
        ...(handlers && !isElsewhere && { handlers }),
        ...(endpoint !== undefined && { endpoint: fillPlaceholders(endpoint, { id }) }),
      }
      const answer = await bounded(AbortSignal.any(signals), (bound) => call(callee, request, bound))
      succeeded = (answer.status ?? 200) < 500
      return answer
    } finally {
      end(succeeded)
    }
  }
}
