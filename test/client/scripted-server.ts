import type { ServerResponse } from 'node:http'
import { type ClientOptions, createClient } from '../../src/client/client.ts'
import { createLoopback, type LoopbackRequest } from '../support/loopback.ts'

export interface SeenRequest extends Pick<LoopbackRequest, 'method' | 'path' | 'headers'> {
  /** The body as parsed JSON; `undefined` without a body. */
  readonly body: unknown
}

/** Sends one scripted answer. */
export type Play = (response: ServerResponse, request: SeenRequest) => void | Promise<void>

export interface ScriptedServer {
  readonly url: string
  /** All requests so far, in order of arrival. */
  readonly requests: readonly SeenRequest[]
  /** Sets the answers of the next requests, in order; the last one repeats. Clears `requests`. */
  play(...answers: readonly Play[]): void
  close(): Promise<void>
}

/** A server on loopback that sends the answers of a test, byte for byte. */
export async function createScriptedServer(): Promise<ScriptedServer> {
  let requests: SeenRequest[] = []
  let script: readonly Play[] = []
  const { url, close } = await createLoopback(async ({ method, path, headers, text, body, response }) => {
    const seen = { method, path, headers, body: text === '' ? undefined : body }
    requests.push(seen)
    const [play = answers.json(404, {}), ...rest] = script
    if (rest.length > 0) script = rest
    await play(response, seen)
  })

  return {
    url,
    get requests() {
      return requests
    },
    play(...given) {
      requests = []
      script = given
    },
    close,
  }
}

export const problemOf = (status: number, code: string, rest: Readonly<Record<string, unknown>> = {}) => ({
  type: `urn:polyphony:problem:${code}`,
  title: code.toLowerCase(),
  status,
  detail: `what ${code} says`,
  code,
  remedy: 'do something',
  retryable: false,
  ...rest,
})

const send = (status: number, type: string, body: string, headers: Readonly<Record<string, string>> = {}): Play => {
  return (response) => {
    response.writeHead(status, { 'content-type': type, ...headers }).end(body)
  }
}

export const answers = {
  json: (status: number, body: unknown, headers?: Readonly<Record<string, string>>): Play =>
    send(status, 'application/json', JSON.stringify(body), headers),
  problem: (
    status: number,
    code: string,
    rest: Readonly<Record<string, unknown>> = {},
    headers?: Readonly<Record<string, string>>,
  ): Play => send(status, 'application/problem+json', JSON.stringify(problemOf(status, code, rest)), headers),
  /** The page of a proxy. */
  html: (status: number): Play => send(status, 'text/html; charset=utf-8', '<!doctype html><h1>Gateway of Ada</h1>'),
  nothing: (): Play => (response) => {
    response.writeHead(204).end()
  },
  /** Closes the connection without an answer. */
  drop: (): Play => (response) => {
    response.socket?.destroy()
  },
  /** Accepts the request and never answers. */
  hang: (): Play => () => {},
  /** Announces more bytes than it sends. */
  cut: (): Play => (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
    response.write('{"id":', () => response.socket?.destroy())
  },
}

/** A client that does not wait between attempts; `delays` lists the waits in milliseconds. */
export function createQuickClient(server: { readonly url: string }, options: Partial<ClientOptions> = {}) {
  const delays: number[] = []
  const client = createClient({
    baseUrl: server.url,
    random: () => 0.5,
    wait: async (delayMs) => {
      delays.push(delayMs)
    },
    ...options,
  })
  return { client, delays }
}
