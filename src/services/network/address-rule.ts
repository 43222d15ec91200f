import { lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isLiteralHost, isPublicAddress, type ResolveName } from '../../system/public-addresses.ts'

/** Which addresses of services are called: those of this machine, and the origins of the operator. */
export interface AddressRule {
  /** The address as URL. Throws SERVICE_ADDRESS_REFUSED. */
  check(address: string): URL
  /** For `host:port` of a probe. Throws SERVICE_ADDRESS_REFUSED. */
  checkHost(host: string): void
  /** Resolves names for sockets and refuses those whose address is not allowed; the socket uses what was checked. */
  lookupFor(url: URL): LookupFunction
}

export interface AddressRuleOptions {
  /** Origins besides loopback, such as `https://models.example.com`. */
  readonly origins: readonly string[]
  readonly resolve?: ResolveName
}

export function createAddressRule({ origins, resolve = lookup }: AddressRuleOptions): AddressRule {
  const allowed = new Set(origins.map((origin) => new URL(origin).origin))
  const hosts = new Set(origins.map((origin) => new URL(origin).hostname))

  function lookupWith(isAllowed: (address: string) => boolean): LookupFunction {
    return (hostname, { family, hints, all }, callback) => {
      resolve(hostname, { family, hints, all: true }, (error, addresses) => {
        if (error) return callback(error, '')
        const [first] = addresses
        if (!first || !addresses.every(({ address }) => isAllowed(address))) return callback(refused(hostname), '')
        if (all) callback(null, addresses)
        else callback(null, first.address, first.family)
      })
    }
  }

  return {
    check(address) {
      const url = URL.canParse(address) ? new URL(address) : undefined
      if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') throw refused(address)
      if (isLoopbackHost(url.hostname)) return url
      if (!allowed.has(url.origin) || (isLiteralHost(url.hostname) && !isNamedAddress(url.hostname))) throw refused(url.origin)
      return url
    },
    checkHost(host) {
      if (!isLoopbackHost(host) && (!hosts.has(host) || (isLiteralHost(host) && !isNamedAddress(host)))) throw refused(host)
    },
    // A name such as localhost may resolve to anything where a resolver is hostile, so it is checked like any other.
    lookupFor: (url) => lookupWith(isLoopbackHost(url.hostname) ? isLoopbackAddress : isNamedAddress),
  }
}

function isLoopbackAddress(text: string): boolean {
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  return ipaddr.isValid(bare) && ipaddr.process(bare).range() === 'loopback'
}

const isLoopbackHost = (host: string): boolean => /^(.+\.)?localhost\.?$/i.test(host) || isLoopbackAddress(host)

/**
 * An address that an origin of the operator may have: public or of a private network. Link-local and reserved ones,
 * which serve the metadata of clouds, never are.
 */
function isNamedAddress(text: string): boolean {
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  if (isPublicAddress(bare)) return true
  if (!ipaddr.isValid(bare)) return false
  const address = ipaddr.process(bare)
  // The metadata address of AWS over IPv6, which lies in the private range.
  if (address.toString() === 'fd00:ec2::254') return false
  return ['private', 'loopback', 'uniqueLocal'].includes(address.range())
}

function refused(address: string): OrchestratorError {
  const shown = address.slice(0, 200).replace(/\/\/[^/@]*@/, '//')
  return new OrchestratorError(
    'SERVICE_ADDRESS_REFUSED',
    `expected an address of this machine or of services.registration.origins, found ${shown}`,
    { details: { address: shown } },
  )
}
