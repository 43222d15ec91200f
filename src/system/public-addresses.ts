import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * Addresses that the registries list as ordinary ones although they serve the metadata of a cloud: Azure's platform
 * address (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16, read 2026-11). The
 * metadata addresses of the other clouds are link-local, unique local, shared or reserved.
 */
const METADATA_ADDRESSES: ReadonlySet<string> = new Set(['168.63.129.16'])

/** The only part of IPv6 that is assigned to the public Internet (RFC 4291, 2.4). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3')
const IPV4_MAPPED = ipaddr.IPv6.parseCIDR('::ffff:0:0/96')
/**
 * Names of public hosts resolve to this prefix in networks that have only IPv6 (RFC 6052). The longer `64:ff9b:1::/48`
 * is for local use (RFC 8215), so its addresses are not public.
 */
const NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96')

/**
 * Whether an IP address belongs to the public Internet: not private, loopback, link-local, shared, multicast, reserved,
 * a tunnel, or the metadata service of a cloud. An IPv4 address inside an IPv6 one counts as that IPv4 address. Takes
 * every spelling that connecting accepts, such as `0x7f.1`, `2130706433` and `[::ffff:127.0.0.1]`; other text, names
 * included, is not a public address.
 */
export function isPublicAddress(text: string): boolean {
  const address = parseAddress(text)
  if (!address) return false
  if (address.kind() === 'ipv4') return address.range() === 'unicast' && !METADATA_ADDRESSES.has(address.toString())
  if (address.match(IPV4_MAPPED) || address.match(NAT64)) {
    return isPublicAddress(ipaddr.fromByteArray(address.toByteArray().slice(12)).toString())
  }
  return address.match(GLOBAL_UNICAST) && address.range() === 'unicast'
}

/** Whether the host of a URL is an IP address in any spelling, or a name that always means this machine (RFC 6761). */
export const isLiteralHost = (host: string): boolean => parseAddress(host) !== undefined || /^(.+\.)?localhost\.?$/i.test(host)

function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  // Resolvers accept a trailing dot after a name, and after an IPv4 address too.
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/(?<=[0-9a-f])\.$/i, '')
  // A digit must come first, or a colon must be inside: `ipaddr.js` would read a name such as `abc` as no address, but
  // the condition keeps that independent of its version.
  if (!/^\d|:/.test(bare) || !ipaddr.isValid(bare)) return undefined
  return ipaddr.parse(bare)
}

/** A name that has an address outside the public Internet, so that no connection was opened. */
export class AddressNotPublicError extends Error {
  readonly code = 'ADDRESS_NOT_PUBLIC'
  constructor(hostname: string) {
    super(`Expected ${hostname} to have only addresses of the public Internet, found another one`)
    this.name = 'AddressNotPublicError'
  }
}

/** Resolves a name to all its addresses. Implemented by `lookup` of `node:dns`. */
export type ResolveName = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/**
 * A `lookup` for sockets that refuses names with an address outside the public Internet with ADDRESS_NOT_PUBLIC. The
 * socket connects to the addresses that were checked, so a name that changes its address between check and connection
 * gains nothing. Sockets do not look up IP addresses: callers must check them with `isPublicAddress`.
 */
export function createPublicLookup(resolve: ResolveName = lookup): LookupFunction {
  return (hostname, options, callback) => {
    const { family, hints } = options
    resolve(hostname, { family, hints, all: true }, (error, addresses) => {
      if (error) return callback(error, '')
      const [first] = addresses
      if (!first || !addresses.every(({ address }) => isPublicAddress(address))) {
        return callback(new AddressNotPublicError(hostname), '')
      }
      if (options.all) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}
