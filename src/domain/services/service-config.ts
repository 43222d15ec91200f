import * as z from 'zod'
import type { ServiceType } from './service-definition.ts'

const tokens = z.number().int().positive()
const text = z.string().min(1)

/** The `config` of a service by its type. Known keys are checked; further ones are kept as they are. */
export const SERVICE_CONFIG_SCHEMAS = {
  llm: z.looseObject({
    /** Name of a model, or `provider/model`. */
    model: text.optional(),
    maxTokens: tokens.optional(),
    temperature: z.number().min(0).max(2).optional(),
  }),
  agent: z.looseObject({
    model: text.optional(),
    /** System prompt of the agent. */
    instructions: z.string().max(200_000).optional(),
    maxTokens: tokens.optional(),
  }),
  voice: z.looseObject({
    model: text.optional(),
    voice: text.optional(),
    language: text.optional(),
    /** Samples per second. */
    sampleRate: z.number().int().positive().optional(),
  }),
  graphics: z.looseObject({
    model: text.optional(),
    /** Pixels. */
    width: z.number().int().positive().optional(),
    height: z.number().int().positive().optional(),
    format: text.optional(),
  }),
  network: z.looseObject({
    host: text.optional(),
    port: z.number().int().min(1).max(65_535).optional(),
    protocol: z.enum(['http', 'tcp', 'tls', 'dns']).optional(),
  }),
  education: z.looseObject({
    subject: text.optional(),
    level: text.optional(),
    language: text.optional(),
  }),
} as const satisfies Record<ServiceType, z.ZodType>

/** The `config` of a service of one type, as code writes it. */
export type ServiceConfig<Type extends ServiceType = ServiceType> = z.input<(typeof SERVICE_CONFIG_SCHEMAS)[Type]>
