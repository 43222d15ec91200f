import { onTestFinished } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { Scope } from '../../src/domain/users/api-key.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../src/server/server.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // What an endpoint answers is what a test is about to look at.
  readonly json: Record<string, unknown>
}

export interface SendOptions {
  readonly body?: unknown
  readonly key?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface RunningServer {
  readonly url: string
  readonly polyphony: Polyphony
  readonly server: HttpServer
  send(method: string, path: string, options?: SendOptions): Promise<Answer>
  /** A key of the user, made in the database. */
  keyOf(userId: string, scopes?: readonly Scope[]): Promise<string>
  close(): Promise<void>
}

export interface RunOptions extends HttpServerOptions {
  /** Somebody gets a key before the server listens: one that others than this machine reach asks for that. */
  readonly isKeyed?: boolean
}

/** A server on a port of the system over a Polyphony of its own, in memory unless the configuration says otherwise. Ends with the test. */
export async function runServer(
  config: PolyphonyConfigInput = {},
  { isKeyed, ...options }: RunOptions = {},
): Promise<RunningServer> {
  const polyphony = await openTestPolyphony({ simulator: true, ...config, server: { port: 0, ...config.server } })
  const server = await createHttpServer(polyphony, options)
  if (isKeyed) await polyphony.apiKeys.create('first')
  const url = await server.listen()
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= server.close().then(() => polyphony.close())
    return closing
  }
  onTestFinished(close)
  return {
    url,
    polyphony,
    server,
    send: (method, path, given) => send(url, method, path, given),
    keyOf: async (userId, scopes) => (await polyphony.apiKeys.create(userId, scopes && { scopes })).token,
    close,
  }
}

export async function send(url: string, method: string, path: string, { body, key, headers }: SendOptions = {}): Promise<Answer> {
  const answer = await fetch(`${url}${path}`, {
    method,
    redirect: 'manual',
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, text, json: toJson(text) }
}

function toJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

/** Events of an SSE answer. */
export const eventsOf = (
  text: string,
): readonly { readonly event: string; readonly id?: string; readonly data: Record<string, unknown> }[] =>
  text.split('\n\n').flatMap((block) => {
    const fields = new Map(block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
    const data = fields.get('data')
    return data === undefined ? [] : [{ event: fields.get('event') ?? 'message', id: fields.get('id'), data: JSON.parse(data) }]
  })
