import { createHash } from 'node:crypto'

/**
 * An id derived from a name, so that storing under the same name twice is detected. A UUID of version 8 (RFC 9562),
 * whose content applications define.
 */
export function toDerivedId(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
