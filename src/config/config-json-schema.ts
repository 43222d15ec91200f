import * as z from 'zod'
import { configSchema } from './config-schema.ts'
import type { ConfigPath } from './layers.ts'

/**
 * The JSON Schema of `polyphony.yaml`, for editors. Values that only code can give, such as loggers, accept anything.
 */
export const configJsonSchema = () => z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })

/** Names of the settings in the group at a path; empty if the path is not a group or accepts any name. */
export function knownKeys(path: ConfigPath): readonly string[] {
  let schema: unknown = configJsonSchema()
  for (const key of path) {
    const properties = memberOf(schema, 'properties')
    schema = memberOf(properties, String(key)) ?? memberOf(schema, 'additionalProperties')
  }
  const properties = memberOf(schema, 'properties')
  return typeof properties === 'object' && properties !== null ? Object.keys(properties) : []
}

const memberOf = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined
