import { createHash } from 'node:crypto'

/**
 * An id that follows from a name, so that what is stored again under the same name is found to be there. A UUID of the kind that applications
 * define (version 8, RFC 9562).
 */
export function toDerivedId(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
