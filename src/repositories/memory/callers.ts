import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { ApiKey } from '../../domain/users/api-key.ts'
import type { IdempotentAnswer, IdempotentRequest } from '../../domain/users/idempotency.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ApiKeyRepository, IdempotencyRepository, TicketRepository } from '../repository.ts'

export interface MemoryCallers {
  readonly apiKeys: ApiKeyRepository
  readonly tickets: TicketRepository
  readonly idempotency: IdempotencyRepository
}

export interface MemoryCallersOptions {
  /** Above this number the oldest ticket is removed. */
  readonly maxTickets: number
  /** Characters of all stored answers. Above this number the answers that were read least recently are removed. */
  readonly maxAnswerCharacters: number
}

/** API keys, tickets and idempotent requests in plain Maps. */
export const createMemoryCallers = ({ maxTickets, maxAnswerCharacters }: MemoryCallersOptions): MemoryCallers => ({
  apiKeys: createMemoryApiKeys(),
  tickets: createMemoryTickets(maxTickets),
  idempotency: createMemoryIdempotency(maxAnswerCharacters),
})

function createMemoryApiKeys(): ApiKeyRepository {
  const records = new Map<string, { readonly key: ApiKey; readonly hash: string }>()
  const change = (id: string, to: (key: ApiKey) => ApiKey): ApiKey | undefined => {
    const record = records.get(id)
    if (!record) return undefined
    const key = to(record.key)
    records.set(id, { ...record, key })
    return key
  }
  return {
    create: async (key, hash) => {
      if (records.has(key.id)) throw new OrchestratorError('INTERNAL', `Expected a new id for a key, found ${key.id} in use.`)
      records.set(key.id, { key, hash })
    },
    find: async (id) => records.get(id),
    list: async (userId) =>
      Array.from(records.values(), ({ key }) => key)
        .filter((key) => userId === undefined || key.userId === userId)
        .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1)),
    revoke: async (id, at) => change(id, (key) => ({ ...key, revokedAt: key.revokedAt ?? at })),
    touch: async (id, at) => {
      change(id, (key) => (key.lastUsedAt && key.lastUsedAt >= at ? key : { ...key, lastUsedAt: at }))
    },
    exist: async () => records.size > 0,
  }
}

function createMemoryTickets(maxTickets: number): TicketRepository {
  const tickets = new Map<string, { readonly caller: string; readonly expiresAt: Date }>()
  return {
    create: async ({ hash, caller, expiresAt }) => {
      if (tickets.has(hash)) throw new OrchestratorError('INTERNAL', 'Expected a new ticket, found it in use.')
      tickets.set(hash, { caller: JSON.stringify(caller), expiresAt })
      if (tickets.size <= maxTickets) return
      const [oldest] = tickets.keys()
      if (oldest !== undefined) tickets.delete(oldest)
    },
    redeem: async (hash, now): Promise<unknown> => {
      const ticket = tickets.get(hash)
      tickets.delete(hash)
      return ticket && ticket.expiresAt > now ? JSON.parse(ticket.caller) : undefined
    },
    prune: async (now) => {
      const expired = [...tickets].filter(([, { expiresAt }]) => expiresAt <= now)
      for (const [hash] of expired) tickets.delete(hash)
      return expired.length
    },
  }
}

type Held = IdempotentRequest & { readonly lock: string }
type Answered = IdempotentRequest & { readonly answer: IdempotentAnswer }

function createMemoryIdempotency(maxAnswerCharacters: number): IdempotencyRepository {
  // Requests that are being answered.
  const held = new Map<string, Held>()
  const answered = new LRUCache<string, Answered>({
    maxSize: maxAnswerCharacters,
    sizeCalculation: ({ answer }, id) => id.length + JSON.stringify(answer.headers).length + answer.body.length + 200,
  })
  const findHeld = (id: string, lock: string | undefined): Held | undefined => {
    const request = held.get(id)
    return lock === undefined || request?.lock === lock ? request : undefined
  }
  return {
    begin: async (request) => {
      const id = toRequestId(request.userId, request.key)
      const done = answered.get(id)
      const holder = held.get(id)
      const prior = done ?? holder
      if (prior && prior.fingerprint !== request.fingerprint) return { state: 'other_request' }
      if (done) return { state: 'done', answer: done.answer }
      if (holder && holder.lockedUntil > request.now) return { state: 'running' }
      const lock = randomUUID()
      held.set(id, { ...request, lock })
      return { state: 'new', lock }
    },
    finish: async (userId, key, answer, lock) => {
      const id = toRequestId(userId, key)
      const request = findHeld(id, lock)
      if (!request) return
      held.delete(id)
      answered.set(id, { ...request, answer })
    },
    release: async (userId, key, lock) => {
      const id = toRequestId(userId, key)
      if (findHeld(id, lock)) held.delete(id)
    },
    prune: async (olderThan) => {
      let pruned = 0
      for (const requests of [held, answered]) {
        for (const [id, { now }] of [...requests.entries()]) {
          if (now >= olderThan) continue
          requests.delete(id)
          pruned++
        }
      }
      return pruned
    },
  }
}

const toRequestId = (userId: string, key: string): string => JSON.stringify([userId, key])
