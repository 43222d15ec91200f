import { Agent, request as httpRequest } from 'node:http'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { inParallel } from '../../faults/observation.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { routesOf } from '../tenancy/route-list.ts'
import { findFault, type SeenAnswer } from './answers.ts'
import type { BodyKind } from './body-status.ts'
import { exchange, readAnswers, spoiltBytes } from './raw-bytes.ts'
import { type MalformedRequest, malformedRequest } from './requests.ts'
import { isHealthy, runStormServer, type StormServer, watchForCrashes } from './storm.ts'
import { validRequests } from './valid-requests.ts'

/** How many requests of each kind are generated, and from which seed. */
export interface RequestStorms {
  readonly inMemory: number
  readonly onPostgres: number
  /** Bytes that need not be a request at all. */
  readonly raw: number
  readonly seed: number
}

const CONNECTIONS = 24
const ANSWER_WITHIN_MS = 20_000
/** Milliseconds for one test: only against one that hangs. */
const MOST_MS = 600_000
const SHOWN_FAULTS = 10

/** Whether a stream of events ends only with its client: of the event log, and of a log that is followed. */
const isEndless = (target: string, contentType = ''): boolean =>
  contentType.startsWith('text/event-stream') && /^\/api\/v1\/(events|services\/[^/]+\/logs)(\?|$)/.test(decoded(target))

/** The answer, read to its end if it has one. */
function sendOver(agent: Agent, url: string, { method, target, headers, body }: MalformedRequest): Promise<SeenAnswer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const length = body === undefined ? {} : { 'content-length': body.length }
    const options = { agent, hostname, port, method, path: target, headers: { ...headers, ...length } }
    const request = httpRequest(options, (response) => {
      const pieces: Buffer[] = []
      if (response.statusCode === 200 && isEndless(target, response.headers['content-type'])) {
        resolve({ status: 200, contentType: 'text/event-stream', body: '' })
        request.destroy()
        return
      }
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode: status = 0, headers: answered } = response
        resolve({ status, contentType: answered['content-type'] ?? '', body: Buffer.concat(pieces).toString('utf8') })
      })
    })
    // Not the time without a byte: a stream that only says that it is alive has to end too.
    const timer = setTimeout(() => request.destroy(new Error('no answer ended in time')), ANSWER_WITHIN_MS)
    request.on('close', () => clearTimeout(timer))
    request.on('error', reject)
    request.end(body)
  })
}

/** The status that a body of this kind has to be answered with. */
const STATUS_OF: Readonly<Record<BodyKind, (status: number) => boolean>> = {
  malformed: (status) => status === 400,
  wrong: (status) => status === 422,
  usable: (status) => status !== 400,
}

/** Sends them all and returns how often each status and each kind of body came; fails for every answer that should not be one. */
async function storm(
  server: StormServer,
  count: number,
  seed: number,
  crashes: readonly unknown[],
): Promise<ReadonlyMap<number | BodyKind, number>> {
  const valid = validRequests(routesOf(server.server.app), server.ids)
  const requests = fc.sample(malformedRequest(valid, server.key), { seed, numRuns: count })
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const faults: string[] = []
  const seen = new Map<number | BodyKind, number>()
  const add = (what: number | BodyKind) => seen.set(what, (seen.get(what) ?? 0) + 1)
  await inParallel(requests, CONNECTIONS, async (request) => {
    const shown = [request.method, request.target, JSON.stringify(request.headers), request.body?.toString('utf8') ?? '']
      .map((part) => part.slice(0, 300))
      .join(' ')
    try {
      const answer = await sendOver(agent, server.url, request)
      add(answer.status)
      const { bodyKind } = request
      if (bodyKind !== undefined) {
        add(bodyKind)
        if (!STATUS_OF[bodyKind](answer.status))
          faults.push(`${answer.status} for a body that is ${bodyKind}: ${shown} → ${answer.body.slice(0, 300)}`)
      }
      // An answer to HEAD has no body to look at.
      if (request.method === 'HEAD' && answer.status < 500) return
      const fault = findFault(answer, `${decoded(request.target)} ${request.body?.toString('utf8')}`)
      if (fault !== undefined) faults.push(`${fault}: ${shown} → ${answer.body.slice(0, 300)}`)
    } catch (error) {
      faults.push(`${error instanceof Error ? error.message : error}: ${shown}`)
    }
  })
  agent.destroy()
  expect(faults.slice(0, SHOWN_FAULTS), `seed ${seed}: ${faults.length} of ${count}`).toEqual([])
  expect(crashes, `seed ${seed}`).toEqual([])
  expect(await isHealthy(server)).toBe(true)
  return seen
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Adds the tests of one number of requests: few of a fixed seed beside every change, many of a new seed in the storm. */
export function describeRequestStorms({ inMemory, onPostgres, raw, seed }: RequestStorms): void {
  const crashes = watchForCrashes()

  test(
    `${inMemory} malformed requests are answered, each with its problem`,
    async () => {
      const seen = await storm(await runStormServer(), inMemory, seed, crashes)
      // A storm in which everything is refused before it is read would say little: each body was answered with the status of its kind.
      expect(seen.get('malformed')).toBeGreaterThan(inMemory / 50)
      expect(seen.get('wrong')).toBeGreaterThan(inMemory / 20)
      expect(seen.get('usable')).toBeGreaterThan(inMemory / 50)
      expect(seen.get(422)).toBeGreaterThan(inMemory / 8)
      expect(seen.get(200)).toBeGreaterThan(inMemory / 50)
    },
    MOST_MS,
  )

  test(
    `${onPostgres} malformed requests cause no error of Postgres`,
    async () => {
      const postgres = await openTestPostgres()
      onTestFinished(() => postgres.drop())
      await storm(await runStormServer({ database: postgres.url }), onPostgres, seed + 1, crashes)
    },
    MOST_MS,
  )

  test(
    `${raw} byte sequences that are hardly requests are answered, or their connection is closed`,
    async () => {
      const server = await runStormServer()
      const { host, port } = new URL(server.url)
      const valid = validRequests(routesOf(server.server.app), server.ids)
      const inputs = fc.sample(spoiltBytes(valid, { host, key: server.key }), { seed: seed + 2, numRuns: raw })
      const faults: string[] = []
      let answered = 0
      await inParallel(inputs, CONNECTIONS, async (bytes) => {
        const sent = bytes.toString('latin1')
        const got = await exchange(Number(port), bytes, ANSWER_WITHIN_MS)
        const answers = got && readAnswers(got)
        if (!answers)
          faults.push(
            `${got ? 'is answered by what is no answer' : 'is left open'}: ${JSON.stringify(sent.slice(0, 300))} → ${got?.toString('latin1').slice(0, 300)}`,
          )
        for (const answer of answers ?? []) {
          answered++
          const fault = findFault(answer, sent)
          if (fault !== undefined) faults.push(`${fault}: ${JSON.stringify(sent.slice(0, 300))} → ${answer.body.slice(0, 300)}`)
        }
      })
      expect(faults.slice(0, SHOWN_FAULTS), `seed ${seed + 2}: ${faults.length} of ${raw}`).toEqual([])
      // What breaks off in the middle of its head is not answered.
      expect(answered).toBeGreaterThan(raw / 2)
      expect(crashes, `seed ${seed + 2}`).toEqual([])
      expect(await isHealthy(server)).toBe(true)
    },
    MOST_MS,
  )
}
