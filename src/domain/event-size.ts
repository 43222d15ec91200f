import type { PolyphonyEvent } from './event.ts'

/** Bytes of an object or list without its members, of a member with the reference to its name, and of a text. */
const OBJECT_BYTES = 64
const MEMBER_BYTES = 32
const TEXT_BYTES = 24
/** An event without its data and texts. */
const EVENT_BYTES = 400

/**
 * Bytes that an event takes in memory, estimated from above. The length of its JSON would be too low: 64 kB of empty
 * objects take more than a megabyte. Data may have any depth, and may contain itself, as that of code can.
 */
export function estimateEventBytes(event: Omit<PolyphonyEvent, 'seq'>): number {
  const { data, subject, correlationId, causationId, userId } = event
  let bytes = EVENT_BYTES
  const seen = new Set<object>()
  const values: unknown[] = [subject, correlationId, causationId, userId, data]
  while (values.length > 0) {
    const value = values.pop()
    if (typeof value === 'string') bytes += textBytes(value)
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    bytes += OBJECT_BYTES
    if (ArrayBuffer.isView(value)) {
      bytes += value.byteLength
      continue
    }
    if (Array.isArray(value)) {
      bytes += MEMBER_BYTES * value.length
      for (const member of value) values.push(member)
      continue
    }
    for (const [name, member] of Object.entries(value)) {
      bytes += MEMBER_BYTES + textBytes(name)
      values.push(member)
    }
  }
  return bytes
}

const textBytes = (text: string): number => TEXT_BYTES + 2 * text.length
