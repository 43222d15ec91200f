import type { PolyphonyEvent } from '../domain/event.ts'

/** Freezes an event with all of its data, because all handlers get the same objects. Data may have any depth. */
export function freezeEvent(event: PolyphonyEvent): PolyphonyEvent {
  const values: unknown[] = [event.data]
  while (values.length > 0) {
    const value = values.pop()
    if (typeof value !== 'object' || value === null || Object.isFrozen(value)) continue
    Object.freeze(value)
    for (const member of Object.values(value)) values.push(member)
  }
  return Object.freeze(event)
}
