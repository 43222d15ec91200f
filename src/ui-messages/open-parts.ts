import type { FlowUIMessageChunk } from './ui-message.ts'

/** Text or reasoning of a message, which arrives in chunks. */
export type StreamedKind = 'text' | 'reasoning'

/**
 * The parts of a message whose text still arrives, one per key and kind. A part that ended is never continued: more
 * text of the same key begins another one.
 */
export function createOpenParts() {
  const open = new Map<string, { readonly kind: StreamedKind; readonly id: string }>()

  const end = (key: string, isVoid: boolean): readonly FlowUIMessageChunk[] => {
    const part = open.get(key)
    if (!part) return []
    open.delete(key)
    const { kind, id } = part
    return [{ type: `${kind}-end`, id, ...(isVoid && { providerMetadata: { polyphony: { void: true } } }) }]
  }

  return {
    /** `seq`: number of the update, which makes the id of a new part one that the same updates give again. */
    add(key: string, kind: StreamedKind, delta: string, seq: number): readonly FlowUIMessageChunk[] {
      if (delta === '') return []
      const part = open.get(key) ?? { kind, id: `${key}:${seq}` }
      const isNew = !open.has(key)
      open.set(key, part)
      const chunk: FlowUIMessageChunk = { type: `${kind}-delta`, id: part.id, delta }
      return isNew ? [{ type: `${kind}-start`, id: part.id }, chunk] : [chunk]
    },
    has: (key: string): boolean => open.has(key),
    end: (key: string) => end(key, false),
    /** Ends a part whose text is void. */
    discard: (key: string) => end(key, true),
    /** Ends the parts whose keys begin so. */
    endAll: (prefix = '', isVoid = false): readonly FlowUIMessageChunk[] =>
      [...open.keys()].filter((key) => key.startsWith(prefix)).flatMap((key) => end(key, isVoid)),
  }
}
