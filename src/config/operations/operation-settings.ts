import * as z from 'zod'
import { baseUrlSchema, headersSchema, proxySchema } from '../provider-settings.ts'

const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
export type HttpMethod = (typeof HTTP_METHODS)[number]

const positive = z.number().int().positive()
const jsonSchema = z.record(z.string(), z.unknown())
const operationName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'expected a letter followed by up to 63 letters, digits, "_" or "-"')

/** Facts that the operator states about an operation. */
const operationFacts = {
  /**
   * Whether a repeated call has no further effect, so that a failed or lost call is repeated. Default: by the HTTP
   * method; false for MCP tools, unless the server says otherwise.
   */
  idempotent: z.boolean().optional(),
  /** Whether every call that a model makes needs the approval of a user. Default false. */
  approval: z.boolean().optional(),
  /** `api`: definitions that come over the network may name it too. Default `code`. */
  expose: z.enum(['code', 'api']).optional(),
  /** US dollars per call. Default: the cost is unknown. */
  price: z.number().nonnegative().optional(),
}

/** One request to the server of a provider. `{name}` in path, query, headers and body stands for an argument. */
const httpOperationSchema = z.strictObject({
  /** What the operation does, for people and for models that may call it. */
  description: z.string().optional(),
  method: z.enum(HTTP_METHODS).default('GET'),
  /** Path below `baseUrl`, such as `/stock/{sku}`; arguments are percent-encoded. */
  path: z.string().regex(/^\/[^?#\s]*$/, 'expected a path that begins with "/", without query and white space'),
  /** Parameters of the query. One whose argument is absent is left out. */
  query: z.record(z.string().min(1), z.union([z.string(), z.number(), z.boolean()])).optional(),
  /** Further headers. One whose argument is absent is left out. */
  headers: z.record(z.string().min(1), z.string()).optional(),
  /** JSON of the body; a string that is exactly `{name}` takes the value of the argument. */
  body: z.json().optional(),
  /** JSON Schema of the arguments. Default: the arguments that `{name}` stands for in the path. */
  input: jsonSchema.optional(),
  /** JSON Schema of the answer. */
  output: jsonSchema.optional(),
  /** JSON Pointer (RFC 6901) to the part of the answer that is the result, such as `/items/0`. Default: all of it. */
  answer: z
    .string()
    .regex(/^(\/.*)?$/s, 'expected a JSON Pointer such as /items/0')
    .optional(),
  /** Maximum bytes of the answer; default 1,000,000. */
  maxBytes: positive.max(100_000_000).default(1_000_000),
  /** Milliseconds for one request. Default: the time of the step. */
  timeoutMs: positive.optional(),
  ...operationFacts,
})
export type HttpOperationSettings = z.output<typeof httpOperationSchema>

/** A provider whose operations are requests to one server. */
export const httpProviderSchema = z.strictObject({
  kind: z.literal('http'),
  /** http:// or https:// address of the server. */
  baseUrl: baseUrlSchema,
  /** Headers of every request, or a function called before every request, for expiring tokens. */
  headers: headersSchema.optional(),
  /** http:// or https:// address of a proxy. Default: the proxy variables of the environment. */
  proxy: proxySchema.optional(),
  /**
   * Whether the name of the server may resolve to private addresses. An IP address and `localhost` may be private in
   * any case, because the operator names them here. Default false.
   */
  allowPrivateAddresses: z.boolean().default(false),
  /** Concurrent requests. Default: no limit. */
  maxConcurrency: positive.optional(),
  /** Requests per minute. Default: no limit. */
  requestsPerMinute: z.number().positive().optional(),
  /** Whether it may be used; default true. */
  active: z.boolean().default(true),
  /** Operations by name: the step says `model: '<provider>/<operation>'`. */
  operations: z.record(operationName, httpOperationSchema),
})
export type HttpProviderSettings = z.output<typeof httpProviderSchema>
export type HttpProviderSettingsInput = z.input<typeof httpProviderSchema>

const mcpShared = {
  /** Milliseconds for the connection and for each list of tools; default 30,000. */
  connectTimeoutMs: positive.default(30_000),
  /** Concurrent calls. Default: no limit. */
  maxConcurrency: positive.optional(),
  /** Maximum bytes of one result; default 10,000,000. */
  maxBytes: positive.max(100_000_000).default(10_000_000),
  /** Whether it may be used; default true. */
  active: z.boolean().default(true),
  /** Defaults for all tools of the server. */
  ...operationFacts,
  /** What the operator states about single tools, by name. */
  tools: z.record(z.string().min(1), z.strictObject(operationFacts)).optional(),
}

/** An MCP server that is reached over HTTP. */
const mcpHttpSchema = z.strictObject({
  /** http:// or https:// address of the server. */
  url: baseUrlSchema,
  /** Headers of every request. */
  headers: z.record(z.string(), z.string()).optional(),
  /** As for HTTP operations. Default false. */
  allowPrivateAddresses: z.boolean().default(false),
  ...mcpShared,
})

/** An MCP server that is a process of this machine. */
const mcpProcessSchema = z.strictObject({
  /** Program that is started without a shell. */
  command: z.string().min(1),
  args: z.array(z.string()).default([]),
  /** Its environment, beside PATH, HOME and the like; it gets no other variable of this process. */
  env: z.record(z.string(), z.string()).default({}),
  /** Its working directory. Default: that of this process. */
  cwd: z.string().min(1).optional(),
  ...mcpShared,
})
export type McpServerSettings = z.output<typeof mcpHttpSchema> | z.output<typeof mcpProcessSchema>
export type McpServerSettingsInput = z.input<typeof mcpHttpSchema> | z.input<typeof mcpProcessSchema>

/** MCP servers by the id of their provider. */
export const mcpServersSchema = z.record(
  operationName,
  z.unknown().transform((given, context): McpServerSettings => {
    const isProcess = typeof given === 'object' && given !== null && 'command' in given
    const read = isProcess ? mcpProcessSchema.safeParse(given) : mcpHttpSchema.safeParse(given)
    if (read.success) return read.data
    for (const { path, message } of read.error.issues) context.addIssue({ code: 'custom', path, message })
    return z.NEVER
  }),
)
