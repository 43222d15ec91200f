import { randomUUID } from 'node:crypto'

/** UUID version 7 (RFC 9562): ordered by time, so that the database appends to its index instead of writing all over it. */
export function createFlowId(nowMs: number = Date.now()): string {
  const time = nowMs.toString(16).padStart(12, '0')
  // Random bits and variant of a version 4; Node keeps a store of random bytes for these.
  const random = randomUUID()
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

const FLOW_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Whether a flow can have that id. */
export const isFlowId = (id: string): boolean => FLOW_ID.test(id)
