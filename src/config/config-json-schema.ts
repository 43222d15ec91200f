import * as z from 'zod'
import { configSchema } from './config-schema.ts'
import type { ConfigPath } from './layers.ts'

/** The JSON Schema of `polyphony.yaml`, for editors. What only code can give (providers, loggers) stands as anything. */
export const configJsonSchema = () => z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })

/** Names of the settings that may stand in the group at the path; none where it is no group or takes any name. */
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
