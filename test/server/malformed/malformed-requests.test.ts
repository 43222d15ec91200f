import { Agent, request as httpRequest } from 'node:http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inParallel } from '../../faults/loopback.ts'
import { routesOf } from '../tenancy/route-list.ts'
import { findFault, type SeenAnswer } from './answers.ts'
import { type MalformedRequest, malformedRequest } from './requests.ts'
import { isHealthy, runStormServer, SEED, watchForCrashes } from './storm.ts'
import { validRequests } from './valid-requests.ts'

const REQUESTS = 8_500
const CONNECTIONS = 24
const ANSWER_WITHIN_MS = 20_000
const crashes = watchForCrashes()

/** The answer, read to its end. */
function sendOver(agent: Agent, url: string, { method, target, headers, body }: MalformedRequest): Promise<SeenAnswer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const length = body === undefined ? {} : { 'content-length': body.length }
    const request = httpRequest(
      { agent, hostname, port, method, path: target, headers: { ...headers, ...length } },
      (response) => {
        const pieces: Buffer[] = []
        response.on('data', (piece: Buffer) => pieces.push(piece))
        response.on('error', reject)
        response.on('end', () => {
          const { statusCode: status = 0, headers: answered } = response
          resolve({ status, contentType: answered['content-type'] ?? '', body: Buffer.concat(pieces).toString('utf8') })
        })
      },
    )
    request.setTimeout(ANSWER_WITHIN_MS, () => request.destroy(new Error('no answer came')))
    request.on('error', reject)
    request.end(body)
  })
}

test(`${REQUESTS} malformed requests are answered, each with what is wrong with it`, async () => {
  const storm = await runStormServer()
  const valid = validRequests(routesOf(storm.server.app), storm.ids)
  const requests = fc.sample(malformedRequest(valid, storm.key), { seed: SEED, numRuns: REQUESTS })
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const faults: string[] = []
  const statuses = new Map<number, number>()
  await inParallel(requests, CONNECTIONS, async (request) => {
    const shown = `${request.method} ${request.target.slice(0, 200)} ${JSON.stringify(request.headers).slice(0, 300)} ${request.body?.toString('utf8').slice(0, 300)}`
    try {
      const answer = await sendOver(agent, storm.url, request)
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      if (request.method === 'HEAD' && answer.status < 500) return
      const fault = findFault(answer, `${decodeURIComponentOr(request.target)} ${request.body?.toString('utf8')}`)
      if (fault !== undefined) faults.push(`${fault}: ${shown} → ${answer.body.slice(0, 300)}`)
    } catch (error) {
      faults.push(`${error instanceof Error ? error.message : error}: ${shown}`)
    }
  })
  agent.destroy()
  expect(faults.slice(0, 10), `seed ${SEED}, ${faults.length} of ${REQUESTS}, ${JSON.stringify([...statuses])}`).toEqual([])
  expect(crashes, `seed ${SEED}`).toEqual([])
  expect(await isHealthy(storm)).toBe(true)
  // A storm that everything is refused in at the door would say little.
  expect(statuses.get(422)).toBeGreaterThan(REQUESTS / 5)
  expect(statuses.get(200)).toBeGreaterThan(REQUESTS / 50)
}, 120_000)

function decodeURIComponentOr(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
