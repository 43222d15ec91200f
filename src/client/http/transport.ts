import { linkAbort, rejectOnAbort } from '../abort.ts'
import type { ClientOptions } from '../client-options.ts'
import { inputError, networkError, PolyphonyError } from '../polyphony-error.ts'
import { type Backoff, delayBefore, startTimer, systemWait, type WaitFor } from '../timing.ts'
import { type Address, parseBaseUrl, type Query } from './address.ts'
import { readClientAnswer, readError, readListAnswer } from './answer.ts'
import { type Credentials, createCredentials } from './credentials.ts'
import { toJson } from './json-body.ts'

/** Options of every call. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. The server completes the work that it has begun. */
  readonly signal?: AbortSignal
  /** Milliseconds for one attempt, from the request to the end of the answer; default 60,000. `Infinity`: no limit. */
  readonly timeoutMs?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** Options of calls that create, execute or rerun. */
export interface KeyedCallOptions extends CallOptions {
  /** Makes repetition safe: the server repeats its first answer. Default: a new key for every call. */
  readonly idempotencyKey?: string
}

/** One call of the HTTP API. */
export interface ClientCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Segments of the path below `/api/v1`. */
  readonly path: readonly string[]
  /** Whether the path is below the server itself. Default false. */
  readonly atRoot?: boolean
  readonly query?: Query
  readonly body?: unknown
  /** A body of bytes in place of JSON. */
  readonly bytes?: Uint8Array | Blob
  /** Whether the server accepts an Idempotency-Key for this call, so that it may be repeated. */
  readonly keyed?: boolean
  /** Sent once even if repetition is safe, because the caller repeats it. Default false. */
  readonly once?: boolean
}

export interface OpenOptions {
  readonly accept: string
  /** Number of the attempt, from 1. */
  readonly attempt: number
  readonly headers?: Readonly<Record<string, string>>
  /** Aborts the request and the body of its answer. */
  readonly signal: AbortSignal
}

type AttemptOptions = Omit<OpenOptions, 'signal'> & { readonly signal: AbortSignal | undefined }

/** Implemented by createTransport. */
export interface Transport {
  readonly address: Address
  readonly wait: WaitFor
  readonly random: () => number
  /** Sends a call, repeats it if that is safe and may help, and resolves with the result of `read`. */
  send<T>(call: ClientCall, options: KeyedCallOptions | undefined, read: (response: Response) => Promise<T>): Promise<T>
  /** Makes one attempt and resolves with an answer of status 2xx as soon as its headers have arrived. */
  open(call: ClientCall, options: OpenOptions): Promise<Response>
  readonly credentials: Credentials
}

/** Waits between attempts of one call, and between reconnections. */
export const BACKOFF: Backoff = { baseDelayMs: 500, maxDelayMs: 15_000 }
const TIMEOUT_MS = 60_000
const MAX_RETRIES = 3
/** If the server asks for a longer wait, a call rejects at once. */
const RETRY_AFTER_CAP_MS = 60_000
const RETRIED_STATUSES: ReadonlySet<number | undefined> = new Set([429, 502, 503, 504])

/**
 * Creates the transport of a client: addresses, credentials, attempts, errors. Throws INPUT_INVALID for invalid
 * options.
 */
export function createTransport(options: ClientOptions): Transport {
  const { maxRetries = MAX_RETRIES, timeoutMs: defaultTimeoutMs = TIMEOUT_MS, wait = systemWait, random = Math.random } = options
  const address = parseBaseUrl(options.baseUrl)
  const credentials = createCredentials(options)
  // Read at every call, because pages and tests replace the global fetch.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))

  async function open(call: ClientCall, { accept, attempt, headers: given, signal }: OpenOptions): Promise<Response> {
    const { method } = call
    const url = address.url(call.path, call.query, call.atRoot)
    const body = call.body === undefined ? toBody(call.bytes) : toJson(call.body)
    const type = call.bytes ? 'application/octet-stream' : 'application/json'
    const headers = toHeaders({ accept, ...(body !== undefined && { 'content-type': type }), ...options.headers, ...given })
    await options.onRequest?.({ method, url, headers, attempt })
    const credential = await credentials.authorization()
    if (credential !== undefined) headers.set('authorization', credential)
    const response = await fetch(url, {
      method,
      headers,
      body,
      signal,
      // A redirect would turn a POST into a GET and send the key to another address.
      redirect: 'manual',
    }).catch((error: unknown) => {
      throw PolyphonyError.is(error) ? error : networkError(`No answer from ${address.origin}: ${reasonOf(error)}`, error)
    })
    if (response.ok) return response
    throw await readError(response)
  }

  async function sendOnce<T>(
    call: ClientCall,
    given: AttemptOptions,
    timeoutMs: number,
    read: (response: Response) => Promise<T>,
  ) {
    const linked = linkAbort(given.signal)
    const stopTimer = startTimer(timeoutMs, () =>
      linked.abort(networkError(`${address.origin} did not answer within ${timeoutMs} ms`)),
    )
    try {
      const work = open(call, { ...given, signal: linked.signal }).then(read)
      return await rejectOnAbort(linked.signal, work)
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
    async send(call, { signal, timeoutMs = defaultTimeoutMs, headers = {}, idempotencyKey } = {}, read) {
      const key = call.keyed ? (idempotencyKey ?? randomKey()) : undefined
      const mayRepeatCall = !call.once && (key !== undefined || call.method === 'GET')
      const maxAttempts = mayRepeatCall ? 1 + maxRetries : 1
      const sent = key === undefined ? headers : { ...headers, 'idempotency-key': key }
      for (let attempt = 1; ; attempt++) {
        signal?.throwIfAborted()
        try {
          return await sendOnce(call, { accept: JSON_TYPES, attempt, headers: sent, signal }, timeoutMs, read)
        } catch (error) {
          if (signal?.aborted || attempt >= maxAttempts || !mayRepeat(error)) throw error
          await wait(delayBefore(attempt, error.retryAfterMs, BACKOFF, random), signal)
        }
      }
    },
  }
}

/** A Blob without a type, because fetch would send the type of the given one. */
const toBody = (bytes: Uint8Array | Blob | undefined): Blob | undefined =>
  bytes && new Blob([bytes instanceof Blob ? bytes : Uint8Array.from(bytes)])

const JSON_TYPES = 'application/json, application/problem+json'

function mayRepeat(error: unknown): error is PolyphonyError {
  if (!PolyphonyError.is(error) || !error.retryable || (error.retryAfterMs ?? 0) > RETRY_AFTER_CAP_MS) return false
  // REQUEST_IN_PROGRESS: an earlier attempt reached the server, its answer was lost, and the server still works on it.
  return error.code === 'NETWORK' || error.code === 'REQUEST_IN_PROGRESS' || RETRIED_STATUSES.has(error.status)
}

function toHeaders(given: Readonly<Record<string, string>>): Headers {
  try {
    return new Headers(given)
  } catch {
    // The error of `Headers` repeats the value, which may be a secret.
    throw inputError('headers: expected names and values that HTTP can carry')
  }
}

/** The actual reason of "fetch failed", which Node stores in `cause`. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return cause.message || ('code' in cause ? String(cause.code) : cause.name)
}

/** A random key. `crypto.randomUUID` is missing in pages that were loaded over plain HTTP. */
function randomKey(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Reads the JSON body of an answer; for `Transport.send`. */
export const asJson = <Wire>(response: Response): Promise<Wire> => readClientAnswer<Wire>(response)

/** Reads the JSON list of an answer; for `Transport.send`. */
export const asList = <Item>(response: Response): Promise<readonly Item[]> => readListAnswer<Item>(response)

/** Reads an answer that may have no body; for `Transport.send`. */
export const asNothing = async (response: Response): Promise<void> => {
  if (response.status !== 204) await readClientAnswer(response)
}
