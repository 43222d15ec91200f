import * as z from 'zod'

const milliseconds = z.number().int().positive()
const origin = z
  .url({ protocol: /^https?$/, error: 'expected an origin such as https://app.example.com' })
  .transform((url) => new URL(url).origin)

/** Who issues tokens of users (JWT). Keys are fetched from `jwksUrl` and from nowhere else, whatever a token says. */
const jwtSchema = z.strictObject({
  issuer: z.string().min(1),
  audience: z.string().min(1),
  jwksUrl: z.url({ protocol: /^https?$/, error: 'expected the URL of the key set of the issuer' }),
  /** Claim that names the user. */
  userClaim: z.string().min(1).default('sub'),
  /** Claim with the scopes, as a list or separated by spaces. */
  scopeClaim: z.string().min(1).default('scope'),
})

/** What `polyphony serve` reads; see docs/deploy.md. */
export const serverSettingsSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  /** 0: one that the system gives. */
  port: z.number().int().min(0).max(65_535).default(4100),
  /** The address that clients use, where a proxy stands before the server. Its host and origin are accepted. */
  publicUrl: z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' }).optional(),
  /** Names of the Host header that are accepted besides the server's own addresses. */
  allowedHosts: z.array(z.string().min(1)).default([]),
  /** Origins of pages that may call the server from a browser. */
  corsOrigins: z.array(origin).default([]),
  /** Believe X-Forwarded-For of the proxy before the server. */
  trustProxy: z.boolean().default(false),
  /** A client that has not sent the head of its request after so long, in milliseconds, is closed. */
  headersTimeoutMs: milliseconds.default(10_000),
  bodyLimitBytes: z.number().int().positive().default(2_097_152),
  /** Requests of one key, user or address in a minute. */
  requestsPerMinute: z.number().int().positive().default(600),
  /** Longest `?wait=`, in milliseconds. */
  maxWaitMs: milliseconds.default(60_000),
  /** Execute flows again that a crash interrupted. */
  resumeInterrupted: z.boolean().default(true),
  /** Longest that running requests and flows are waited for at the end, in milliseconds. */
  closeTimeoutMs: milliseconds.default(10_000),
  jwt: jwtSchema.optional(),
  /** Flows as models, for clients of OpenAI. */
  models: z
    .strictObject({
      /** Pass over tools and formats of answers that a flow cannot serve, in place of refusing the request. */
      ignoreUnsupported: z.boolean().default(false),
    })
    .prefault({}),
  sockets: z
    .strictObject({
      /** Open WebSockets of all users. */
      maxConnections: z.number().int().positive().default(10_000),
      /** Of one user. */
      maxConnectionsPerUser: z.number().int().positive().default(2_000),
      /** Flows that one WebSocket may follow. */
      maxSubscriptions: z.number().int().positive().default(200),
      maxMessageBytes: z.number().int().positive().default(262_144),
      /** Bytes that may wait for one reader; more is kept back until it reads. */
      maxBufferedBytes: z.number().int().positive().default(524_288),
      /** A reader that takes nothing for so long is closed. */
      slowAfterMs: milliseconds.default(30_000),
      pingEveryMs: milliseconds.default(30_000),
    })
    .prefault({}),
})

export type ServerSettings = z.output<typeof serverSettingsSchema>

/** What is seen from outside. */
export const telemetrySettingsSchema = z.strictObject({
  /** Put prompts and answers on spans. Off: what users write stays in the database. */
  captureContent: z.boolean().default(false),
})
