import { Agent, request as httpRequest } from 'node:http'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { inParallel } from '../../faults/loopback.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { routesOf } from '../tenancy/route-list.ts'
import { findFault, type SeenAnswer } from './answers.ts'
import type { BodyKind } from './body-status.ts'
import { exchange, readAnswers, spoiltBytes } from './raw-bytes.ts'
import { type MalformedRequest, malformedRequest } from './requests.ts'
import { isHealthy, runStormServer, SEED, type StormServer, watchForCrashes } from './storm.ts'
import { validRequests } from './valid-requests.ts'

const IN_MEMORY = 7_000
const ON_POSTGRES = 1_500
const RAW = 1_500
const CONNECTIONS = 24
const ANSWER_WITHIN_MS = 20_000
/** Milliseconds for one test: only against one that hangs. */
const MOST_MS = 600_000
const SHOWN_FAULTS = 10
const crashes = watchForCrashes()

/** The answer, read to its end. */
function sendOver(agent: Agent, url: string, { method, target, headers, body }: MalformedRequest): Promise<SeenAnswer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const length = body === undefined ? {} : { 'content-length': body.length }
    const options = { agent, hostname, port, method, path: target, headers: { ...headers, ...length } }
    const request = httpRequest(options, (response) => {
      const pieces: Buffer[] = []
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode: status = 0, headers: answered } = response
        resolve({ status, contentType: answered['content-type'] ?? '', body: Buffer.concat(pieces).toString('utf8') })
      })
    })
    request.setTimeout(ANSWER_WITHIN_MS, () => request.destroy(new Error('no answer came')))
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
async function storm(server: StormServer, count: number, seed: number): Promise<ReadonlyMap<number | BodyKind, number>> {
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

test(
  `${IN_MEMORY} malformed requests are answered, each with what is wrong with it`,
  async () => {
    const seen = await storm(await runStormServer(), IN_MEMORY, SEED)
    // A storm in which everything is refused before it is read would say little: each body was answered with the status of its kind.
    expect(seen.get('malformed')).toBeGreaterThan(IN_MEMORY / 50)
    expect(seen.get('wrong')).toBeGreaterThan(IN_MEMORY / 20)
    expect(seen.get('usable')).toBeGreaterThan(IN_MEMORY / 50)
    expect(seen.get(422)).toBeGreaterThan(IN_MEMORY / 6)
    expect(seen.get(200)).toBeGreaterThan(IN_MEMORY / 50)
  },
  MOST_MS,
)

test(
  `${ON_POSTGRES} malformed requests reach no database that chokes on them`,
  async () => {
    const postgres = await openTestPostgres()
    onTestFinished(() => postgres.drop())
    await storm(await runStormServer({ database: postgres.url }), ON_POSTGRES, SEED + 1)
  },
  MOST_MS,
)

test(
  `${RAW} things that are hardly requests are answered, or their connection is closed`,
  async () => {
    const server = await runStormServer()
    const { host, port } = new URL(server.url)
    const valid = validRequests(routesOf(server.server.app), server.ids)
    const inputs = fc.sample(spoiltBytes(valid, { host, key: server.key }), { seed: SEED + 2, numRuns: RAW })
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
    expect(faults.slice(0, SHOWN_FAULTS), `seed ${SEED + 2}: ${faults.length} of ${RAW}`).toEqual([])
    // What breaks off in the middle of its head is not answered.
    expect(answered).toBeGreaterThan(RAW / 2)
    expect(crashes, `seed ${SEED + 2}`).toEqual([])
    expect(await isHealthy(server)).toBe(true)
  },
  MOST_MS,
)

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
