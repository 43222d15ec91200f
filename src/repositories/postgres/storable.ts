import type { ValueTransformer } from 'typeorm'
import { toStorableJson, toStorableText } from '../../domain/storable-text.ts'

/** Converts text columns of entities when they are written, and in conditions. */
export const storableText: ValueTransformer = {
  to: (value: unknown) => (typeof value === 'string' ? toStorableText(value) : value),
  from: (value: unknown) => value,
}

/** Converts JSON columns of entities when they are written. */
export const storableJson: ValueTransformer = {
  to: (value: unknown): unknown => (value === undefined || value === null ? value : JSON.parse(toStorableJson(value))),
  from: (value: unknown) => value,
}

const CANONICAL_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Whether a flow may have the id: flow ids are stored as UUIDs. Statements must not be given any other text, because
 * Postgres refuses them instead of finding nothing.
 */
export const canBeFlowId = (id: string): boolean => CANONICAL_UUID.test(id)
