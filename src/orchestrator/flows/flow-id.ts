import { randomUUID } from 'node:crypto'

/**
 * A UUID of version 7 (RFC 9562). It is ordered by time, so that new ids are appended to the end of database indexes.
 */
export function createFlowId(nowMs: number = Date.now()): string {
  const time = nowMs.toString(16).padStart(12, '0')
  // The random bits and the variant of a version 4 UUID, for which Node caches random bytes.
  const random = randomUUID()
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

const FLOW_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Whether the text has the form of a flow id. */
export const isFlowId = (id: string): boolean => FLOW_ID.test(id)
