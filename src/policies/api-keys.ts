import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import * as z from 'zod'
import { type ApiKey, isUsableKey, SCOPES, USER_SCOPES } from '../domain/users/api-key.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createFreshCache } from './fresh-cache.ts'
import type { ApiKeyService, NewApiKey } from './policy.ts'

/** A key with the hash of its secret. */
interface HashedApiKey {
  readonly key: ApiKey
  /** SHA-256 of the secret, hexadecimal. */
  readonly hash: string
}

/** The storage operations that the service needs. */
export interface ApiKeyRecords {
  create(key: ApiKey, hash: string): Promise<void>
  find(id: string): Promise<HashedApiKey | undefined>
  list(userId?: string): Promise<readonly ApiKey[]>
  revoke(id: string, at: Date): Promise<ApiKey | undefined>
  touch(id: string, at: Date): Promise<void>
  exist(): Promise<boolean>
}

export interface ApiKeyServiceOptions {
  /** Milliseconds for which a key may be cached; default and maximum 1000. */
  readonly cacheMs?: number
  /** Milliseconds of a monotonic clock. */
  readonly elapsedMs?: () => number
  readonly now?: () => Date
}

const MAX_CACHE_MS = 1_000
const TOUCH_EVERY_MS = 60_000
/** Number of keys whose last use is cached; the use of other keys may be written more often. */
const MAX_TOUCHED = 10_000

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 62^43 is a little more than 2^256. */
const SECRET_LENGTH = 43
const ID = /^[0-9a-f]{16}$/
const TOKEN = /^pk_([0-9a-f]{16})_([0-9A-Za-z]{43})$/
/** Stand-ins for the id and hash of a malformed token, so that rejecting it takes the same work. No key has them. */
const NO_ID = 'none'
const NO_HASH = Buffer.alloc(32)

const userIdSchema = z
  .string()
  .min(1)
  .max(200)
  // Postgres refuses NUL in text.
  .regex(/^[^\0]*$/, 'expected a string without NUL')
const newKeySchema = z.strictObject({
  name: z
    .string()
    .max(200)
    .regex(/^[^\0]*$/, 'expected a string without NUL')
    .default(''),
  scopes: z
    .array(z.enum(SCOPES))
    .min(1)
    .transform((given) => SCOPES.filter((scope) => given.includes(scope)))
    .default([...USER_SCOPES]),
  expiresAt: z.date().optional(),
})

/** Stores keys as hashes and caches them for at most a second. Keys revoked in this process are refused at once. */
export function createApiKeyService(records: ApiKeyRecords, options: ApiKeyServiceOptions = {}): ApiKeyService {
  const { cacheMs = MAX_CACHE_MS, elapsedMs = () => performance.now(), now = () => new Date() } = options
  const known = createFreshCache<HashedApiKey | undefined>({ cacheMs: Math.min(cacheMs, MAX_CACHE_MS), now: elapsedMs })
  const touch = createTouch(records)

  const find = (id: string) => known.get([id, ''], () => records.find(id))

  return {
    create: async (userId, given = {}) => {
      const createdAt = now()
      const { expiresAt, ...named } = parseNewKey(given, createdAt)
      const id = randomBytes(8).toString('hex')
      const secret = Array.from({ length: SECRET_LENGTH }, () => ALPHABET.charAt(randomInt(ALPHABET.length))).join('')
      const key = { id, userId: parse(userIdSchema, userId, 'userId'), ...named, createdAt, ...(expiresAt && { expiresAt }) }
      try {
        await records.create(key, toHash(secret).toString('hex'))
      } finally {
        known.drop([id, ''])
      }
      return { key, token: `pk_${id}_${secret}` }
    },

    list: async (userId) => records.list(userId === undefined ? undefined : parse(userIdSchema, userId, 'userId')),

    revoke: async (id) => {
      // A caller may pass a whole token by mistake, so the message repeats the id only if it has the form of one.
      if (!isId(id)) throw new OrchestratorError('KEY_NOT_FOUND', 'Expected the id of a key: 16 hexadecimal digits.')
      try {
        const revoked = await records.revoke(id, now())
        if (revoked) return revoked
      } finally {
        // Dropped even after a failure, because the write may have reached the store.
        known.drop([id, ''])
      }
      throw new OrchestratorError('KEY_NOT_FOUND', `Expected a key, found none with id "${id}".`, { details: { id } })
    },

    verify: async (token) => {
      const [, id, secret] = TOKEN.exec(typeof token === 'string' ? token : '') ?? []
      const given = toHash(secret ?? '')
      const found = await find(id ?? NO_ID)
      const stored = found ? Buffer.from(found.hash, 'hex') : NO_HASH
      // An imported key has no hash.
      const fits = timingSafeEqual(given, stored.length === given.length ? stored : NO_HASH)
      const at = now()
      if (!found || !fits || !isUsableKey(found.key, at)) return undefined
      touch(found.key, at)
      return found.key
    },

    exist: () => records.exist(),

    isUsable: async (id) => {
      const found = await find(isId(id) ? id : NO_ID)
      return found !== undefined && isUsableKey(found.key, now())
    },
  }
}

const isId = (id: unknown): id is string => typeof id === 'string' && ID.test(id)

// A slow hash would not help: it protects passwords, which can be guessed, but these secrets have 256 random bits. On
// each request it would let clients keep the server busy.
const toHash = (secret: string): Buffer => createHash('sha256').update(secret).digest()

/** Records the use of a key at most once a minute. A failed write does not fail the request. */
function createTouch(records: Pick<ApiKeyRecords, 'touch'>) {
  let touched: LRUCache<string, number> | undefined
  return ({ id, lastUsedAt }: ApiKey, at: Date): void => {
    touched ??= new LRUCache({ max: MAX_TOUCHED })
    const lastMs = Math.max(touched.get(id) ?? 0, lastUsedAt?.getTime() ?? 0)
    if (at.getTime() - lastMs < TOUCH_EVERY_MS) return
    touched.set(id, at.getTime())
    void records.touch(id, at).catch(() => {})
  }
}

function parseNewKey(given: NewApiKey, now: Date): z.output<typeof newKeySchema> {
  const options = parse(newKeySchema, given, 'options')
  if (options.expiresAt === undefined || options.expiresAt > now) return options
  throw new OrchestratorError('INPUT_INVALID', 'options.expiresAt: expected an instant in the future.')
}

function parse<Schema extends z.ZodType>(schema: Schema, input: unknown, name: string): z.output<Schema> {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => `${[name, ...path].join('.')}: ${message}`)
  throw new OrchestratorError('INPUT_INVALID', `${problems.join('; ')}.`, { details: { problems } })
}
