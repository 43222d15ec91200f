import * as z from 'zod'

const milliseconds = z.number().int().positive()
const origin = z
  .url({ protocol: /^https?$/, error: 'expected an origin such as https://app.example.com' })
  .transform((url) => new URL(url).origin)

/** The issuer of tokens of users (JWT). Keys are fetched only from `jwksUrl`; URLs inside a token are ignored. */
const jwtSchema = z.strictObject({
  /** Required value of the claim `iss`. */
  issuer: z.string().min(1),
  /** Required value of the claim `aud`. */
  audience: z.string().min(1),
  /** URL of the issuer's key set. */
  jwksUrl: z.url({ protocol: /^https?$/, error: 'expected the URL of the key set of the issuer' }),
  /** Claim with the user id; default `sub`. */
  userClaim: z.string().min(1).default('sub'),
  /** Claim with the scopes, as a list or separated by spaces; default `scope`. */
  scopeClaim: z.string().min(1).default('scope'),
})

/** Settings of `polyphony serve`; see docs/deploy.md. */
export const serverSettingsSchema = z.strictObject({
  /** Address to listen on; default 127.0.0.1. */
  host: z.string().min(1).default('127.0.0.1'),
  /** Port to listen on; 0 for any free port. Default 4100. */
  port: z.number().int().min(0).max(65_535).default(4100),
  /** URL that clients use, if it differs from host and port, as behind a proxy. Its host and origin are accepted. */
  publicUrl: z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' }).optional(),
  /** Host names that are accepted in the Host header besides the server's own addresses. Default: none. */
  allowedHosts: z.array(z.string().min(1)).default([]),
  /** Origins of pages that may call the server from a browser. Default: none. */
  corsOrigins: z.array(origin).default([]),
  /**
   * A key of the operator, beside those of `polyphony keys create`: at least 8 printable characters without spaces. Its
   * user is `local`, with every scope. Default: none.
   */
  apiKey: z
    .string()
    .regex(/^[\x21-\x7e]{8,1000}$/, 'expected 8 to 1000 printable characters without spaces')
    .optional(),
  /** Whether to trust `X-Forwarded-For`; only behind a proxy that sets it. Default false. */
  trustProxy: z.boolean().default(false),
  /** Milliseconds for a client to send the head of a request; default 10,000. */
  headersTimeoutMs: milliseconds.default(10_000),
  /** Largest body of a request without files, in bytes; default 2,097,152 (2 MiB). */
  bodyLimitBytes: z.number().int().positive().default(2_097_152),
  /** Requests per minute of one key, user or address; default 600. */
  requestsPerMinute: z.number().int().positive().default(600),
  /** Largest `?wait=` in milliseconds; default 60,000. */
  maxWaitMs: milliseconds.default(60_000),
  /** Whether to resume flows that a crash interrupted; default true. */
  resumeInterrupted: z.boolean().default(true),
  /** Milliseconds for running requests, and then for running flows, to end when the server closes; default 10,000. */
  closeTimeoutMs: milliseconds.default(10_000),
  /** Accepts tokens of this issuer besides API keys. Default: API keys only. */
  jwt: jwtSchema.optional(),
  /** The OpenAI-compatible API at `/v1`. */
  models: z
    .strictObject({
      /**
       * Whether to ignore tools and response formats that flows do not support, instead of refusing them. Default
       * false.
       */
      ignoreUnsupported: z.boolean().default(false),
    })
    .prefault({}),
  /** WebSockets. */
  sockets: z
    .strictObject({
      /** Open WebSockets of all users together; default 10,000. */
      maxConnections: z.number().int().positive().default(10_000),
      /** Open WebSockets of one user; default 2,000. */
      maxConnectionsPerUser: z.number().int().positive().default(2_000),
      /** Subscriptions of one WebSocket; default 200. */
      maxSubscriptions: z.number().int().positive().default(200),
      /** Largest message of a client in bytes; default 262,144 (256 KiB). */
      maxMessageBytes: z.number().int().positive().default(262_144),
      /** Bytes buffered for a slow reader, after which delivery pauses until it reads; default 524,288 (512 KiB). */
      maxBufferedBytes: z.number().int().positive().default(524_288),
      /** Milliseconds without progress after which a slow reader is disconnected; default 30,000. */
      slowAfterMs: milliseconds.default(30_000),
      /** Milliseconds between pings; default 30,000. */
      pingEveryMs: milliseconds.default(30_000),
    })
    .prefault({}),
})

export type ServerSettings = z.output<typeof serverSettingsSchema>

/** Settings of `polyphony worker`; see docs/deploy.md. */
export const workerSettingsSchema = z.strictObject({
  /** Port at `server.host` on which a worker answers GET /health; 0 for any free port. Default: none. */
  healthPort: z.number().int().min(0).max(65_535).optional(),
})

/** Settings of spans and metrics. */
export const telemetrySettingsSchema = z.strictObject({
  /** Whether spans contain prompts and answers; default false, so that texts of users stay in the database. */
  captureContent: z.boolean().default(false),
})
