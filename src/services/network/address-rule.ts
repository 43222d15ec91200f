import type { LookupFunction } from 'node:net'
import { addressRefused, createServiceLookup, isLoopbackName, isNamedAddress } from '../../system/named-addresses.ts'
import { isLiteralHost, type ResolveName } from '../../system/public-addresses.ts'

/** Which addresses of services are called: those of this machine, and the origins of the operator. */
export interface AddressRule {
  /** The address as URL. Throws SERVICE_ADDRESS_REFUSED. */
  check(address: string): URL
  /** For `host:port` of a probe. Throws SERVICE_ADDRESS_REFUSED. */
  checkHost(host: string): void
  /** Resolves names for sockets and refuses those whose address is not allowed; the socket uses what was checked. */
  readonly lookup: LookupFunction
}

export interface AddressRuleOptions {
  /** Origins besides loopback, such as `https://models.example.com`. */
  readonly origins: readonly string[]
  readonly resolve?: ResolveName
}

export function createAddressRule({ origins, resolve }: AddressRuleOptions): AddressRule {
  const allowed = new Set(origins.map((origin) => new URL(origin).origin))
  const hosts = new Set(origins.map((origin) => new URL(origin).hostname))

  return {
    check(address) {
      const url = URL.canParse(address) ? new URL(address) : undefined
      if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') throw addressRefused(address)
      if (isLoopbackName(url.hostname)) return url
      if (!allowed.has(url.origin) || (isLiteralHost(url.hostname) && !isNamedAddress(url.hostname))) {
        throw addressRefused(url.origin)
      }
      return url
    },
    checkHost(host) {
      if (!isLoopbackName(host) && (!hosts.has(host) || (isLiteralHost(host) && !isNamedAddress(host))))
        throw addressRefused(host)
    },
    lookup: createServiceLookup(resolve),
  }
}
