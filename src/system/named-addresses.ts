import { lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { isPublicAddress, type ResolveName } from './public-addresses.ts'

/** Whether a host is a name or an address, in any spelling, that means this machine. */
export const isLoopbackName = (host: string): boolean => /^(.+\.)?localhost\.?$/i.test(host) || isLoopbackAddress(host)

function isLoopbackAddress(text: string): boolean {
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  return ipaddr.isValid(bare) && ipaddr.process(bare).range() === 'loopback'
}

/**
 * An address that a host which the operator names may have: public or of a private network. Link-local and reserved
 * ones, which serve the metadata of clouds, never are.
 */
export function isNamedAddress(text: string): boolean {
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  if (isPublicAddress(bare)) return true
  if (!ipaddr.isValid(bare)) return false
  const address = ipaddr.process(bare)
  // The metadata address of AWS over IPv6, which lies in the private range.
  if (address.toString() === 'fd00:ec2::254') return false
  return ['private', 'loopback', 'uniqueLocal'].includes(address.range())
}

/**
 * A `lookup` for sockets to services: names of this machine have loopback addresses only, as a hostile resolver may
 * answer anything, and other names those of `isNamedAddress`. Fails with SERVICE_ADDRESS_REFUSED. The socket connects
 * to the addresses that were checked. Sockets do not look up IP addresses: callers must check them.
 */
export function createServiceLookup(resolve: ResolveName = lookup): LookupFunction {
  return (hostname, { family, hints, all }, callback) => {
    const isAllowed = isLoopbackName(hostname) ? isLoopbackAddress : isNamedAddress
    resolve(hostname, { family, hints, all: true }, (error, addresses) => {
      if (error) return callback(error, '')
      const [first] = addresses
      if (!first || !addresses.every(({ address }) => isAllowed(address))) return callback(addressRefused(hostname), '')
      if (all) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}

export function addressRefused(address: string): OrchestratorError {
  const shown = address.slice(0, 200).replace(/\/\/[^/@]*@/, '//')
  return new OrchestratorError(
    'SERVICE_ADDRESS_REFUSED',
    `expected an address of this machine or of services.registration.origins, found ${shown}`,
    { details: { address: shown } },
  )
}
