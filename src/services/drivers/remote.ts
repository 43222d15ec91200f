import type { ServiceExit } from '../../domain/services/service-state.ts'
import type { AddressRule } from '../network/address-rule.ts'
import type { ServiceDriver } from '../service-driver.ts'

/** A service that another program runs; only its addresses are known. */
export interface RemoteStart {
  readonly id: string
  /** Addresses of its endpoint and of its health. */
  readonly addresses: readonly string[]
}

/**
 * "Runs" services that live elsewhere: a start checks their addresses and rejects with SERVICE_ADDRESS_REFUSED, a stop
 * only ends the use of the service.
 */
export function createRemoteDriver(rule: AddressRule): ServiceDriver<RemoteStart> {
  return {
    kind: 'remote',
    async start({ addresses }, { runId, signal }) {
      signal.throwIfAborted()
      for (const address of addresses) rule.check(address)
      let end = (_exit: ServiceExit) => {}
      const ended = new Promise<ServiceExit>((resolve) => {
        end = resolve
      })
      const stop = async () => end({ at: new Date() })
      return { runId, startedAt: new Date(), adopted: false, ended, requestStop: stop, kill: stop }
    },
  }
}
