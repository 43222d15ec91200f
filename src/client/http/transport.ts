import { linkAbort, untilAborted } from '../abort.ts'
import type { ClientOptions } from '../client-options.ts'
import { inputError, networkError, PolyphonyError } from '../polyphony-error.ts'
import { type Backoff, delayBefore, startTimer, systemWait, type WaitFor } from '../timing.ts'
import { type Address, parseBaseUrl, type Query } from './address.ts'
import { readClientAnswer, readError } from './answer.ts'
import { type Credentials, createCredentials } from './credentials.ts'
import { toJson } from './json-body.ts'

/** For every call. */
export interface CallOptions {
  /** Ends the call: it rejects with the reason of the signal. What the server has begun goes on. */
  readonly signal?: AbortSignal
  /** Milliseconds for one try, from the request to the end of the answer; default 60,000. `Infinity`: no limit. */
  readonly timeoutMs?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** For calls that create, execute or rerun. */
export interface KeyedCallOptions extends CallOptions {
  /** Makes a repetition harmless: the server answers again what it answered first. Default: a new one for every call. */
  readonly idempotencyKey?: string
}

export interface ClientCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Names below the root of the API. */
  readonly path: readonly string[]
  readonly query?: Query
  readonly body?: unknown
  /** The server honours an Idempotency-Key here, so the call may be repeated. */
  readonly keyed?: boolean
}

export interface OpenOptions {
  readonly accept: string
  /** From 1. */
  readonly attempt: number
  readonly headers?: Readonly<Record<string, string>>
  /** The answer's body lives as long as this. */
  readonly signal: AbortSignal
}

type Try = Omit<OpenOptions, 'signal'> & { readonly signal: AbortSignal | undefined }

export interface Transport {
  readonly address: Address
  readonly wait: WaitFor
  readonly random: () => number
  /** Sends a call, again where that is harmless and may help, and resolves with what `read` makes of the answer. */
  send<T>(call: ClientCall, options: KeyedCallOptions | undefined, read: (response: Response) => Promise<T>): Promise<T>
  /** One try; resolves with an answer of 2xx as soon as its headers are there. */
  open(call: ClientCall, options: OpenOptions): Promise<Response>
  readonly credentials: Credentials
}

/** Between tries of one call, and between reconnections. */
export const BACKOFF: Backoff = { baseDelayMs: 500, maxDelayMs: 15_000 }
const TIMEOUT_MS = 60_000
const MAX_RETRIES = 3
/** A server that asks for a longer wait than this is not waited for by a single call. */
const RETRY_AFTER_CAP_MS = 60_000
const REPEATED: ReadonlySet<number | undefined> = new Set([429, 502, 503, 504])

/** Everything between a call and the network: addresses, credentials, tries, errors. Throws INPUT_INVALID for options that cannot be. */
export function createTransport(options: ClientOptions): Transport {
  const { maxRetries = MAX_RETRIES, timeoutMs: usualTimeoutMs = TIMEOUT_MS, wait = systemWait, random = Math.random } = options
  const address = parseBaseUrl(options.baseUrl)
  const credentials = createCredentials(options)
  // Looked up at every call: pages and tests replace it.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))

  async function open(call: ClientCall, { accept, attempt, headers: given, signal }: OpenOptions): Promise<Response> {
    const { method } = call
    const url = address.url(call.path, call.query)
    const body = call.body === undefined ? undefined : toJson(call.body)
    const headers = toHeaders({ accept, ...(body && { 'content-type': 'application/json' }), ...options.headers, ...given })
    await options.onRequest?.({ method, url, headers, attempt })
    const credential = await credentials.authorization()
    if (credential !== undefined) headers.set('authorization', credential)
    const response = await fetch(url, {
      method,
      headers,
      body,
      signal,
      // A redirected POST would come back as a GET, and a key belongs to the address it was given for.
      redirect: 'manual',
    }).catch((error: unknown) => {
      throw PolyphonyError.is(error) ? error : networkError(`No answer from ${address.origin}: ${reasonOf(error)}`, error)
    })
    if (response.ok) return response
    throw await readError(response)
  }

  async function tryOnce<T>(call: ClientCall, given: Try, timeoutMs: number, read: (response: Response) => Promise<T>) {
    const linked = linkAbort(given.signal)
    const stopTimer = startTimer(timeoutMs, () =>
      linked.abort(networkError(`${address.origin} did not answer within ${timeoutMs} ms`)),
    )
    try {
      const work = open(call, { ...given, signal: linked.signal }).then(read)
      return await untilAborted(linked.signal, work)
    } catch (error) {
      throw linked.signal.aborted ? linked.signal.reason : error
    } finally {
      stopTimer()
      linked.unlink()
    }
  }

  return {
    address,
    wait,
    random,
    credentials,
    open,
    async send(call, { signal, timeoutMs = usualTimeoutMs, headers = {}, idempotencyKey } = {}, read) {
      const key = call.keyed ? (idempotencyKey ?? randomKey()) : undefined
      const tries = key !== undefined || call.method === 'GET' ? 1 + maxRetries : 1
      const sent = key === undefined ? headers : { ...headers, 'idempotency-key': key }
      for (let attempt = 1; ; attempt++) {
        signal?.throwIfAborted()
        try {
          return await tryOnce(call, { accept: JSON_TYPES, attempt, headers: sent, signal }, timeoutMs, read)
        } catch (error) {
          if (signal?.aborted || attempt >= tries || !mayRepeat(error)) throw error
          await wait(delayBefore(attempt, error.retryAfterMs, BACKOFF, random), signal)
        }
      }
    },
  }
}

const JSON_TYPES = 'application/json, application/problem+json'

function mayRepeat(error: unknown): error is PolyphonyError {
  if (!PolyphonyError.is(error) || !error.retryable || (error.retryAfterMs ?? 0) > RETRY_AFTER_CAP_MS) return false
  // The first try may have reached the server although its answer did not reach us: then it is still at work on it.
  return error.code === 'NETWORK' || error.code === 'REQUEST_IN_PROGRESS' || REPEATED.has(error.status)
}

function toHeaders(given: Readonly<Record<string, string>>): Headers {
  try {
    return new Headers(given)
  } catch {
    // The message of the platform repeats the value.
    throw inputError('headers: expected names and values that HTTP can carry')
  }
}

/** What stands behind "fetch failed": Node hides it one level down. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return cause.message || ('code' in cause ? String(cause.code) : cause.name)
}

/** `crypto.randomUUID` is missing in pages that came over plain HTTP. */
function randomKey(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Reads the body of an answer as what the schema of the route says; for `Transport.send`. */
export const asJson = <Wire>(response: Response): Promise<Wire> => readClientAnswer<Wire>(response)

/** For answers without a body. */
export const asNothing = async (response: Response): Promise<void> => {
  if (response.status !== 204) await readClientAnswer(response)
}
