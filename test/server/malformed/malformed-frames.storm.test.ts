import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SOCKET_CLOSE } from '../../../src/protocol/socket.ts'
import { inParallel } from '../../faults/observation.ts'
import { casesOf, SEED } from '../../support/scale.ts'
import { connect, type Frame } from '../socket-client.ts'
import { findFault } from './answers.ts'
import { type Message, malformedBytes, malformedMessage, pourBytes } from './frames.ts'
import { isHealthy, runStormServer, type StormServer, watchForCrashes } from './storm.ts'

const MESSAGES = casesOf(3_600, 600)
const ON_ONE_SOCKET = 150
/** Fewer than the misfits in a row that end a connection. */
const BETWEEN_PINGS = 30
const BROKEN = casesOf(1_400, 280)
const SOCKETS = 16
const ANSWER_WITHIN_MS = 20_000
const SHOWN_FAULTS = 10
const crashes = watchForCrashes()

const faultOf = (frame: Frame, sent: string): string | undefined => {
  if (frame.type !== 'refused') return undefined
  const { problem } = frame
  const status = typeof problem === 'object' && problem !== null && 'status' in problem ? Number(problem.status) : 0
  return findFault({ status, contentType: 'application/problem+json', body: JSON.stringify(problem) }, sent)
}

/** Sends the messages on one socket, with good ones between them, which must all be answered. */
async function converse({ url, key }: StormServer, messages: readonly Message[]): Promise<readonly string[]> {
  const client = await connect(url, { key })
  const faults: string[] = []
  const ping = async (requestId: string) => {
    client.send({ type: 'ping', requestId })
    const answered = client.next((frame) => frame.type === 'pong' && frame.requestId === requestId)
    const end = await Promise.race([answered, client.closed])
    if ('code' in end) throw new Error(`closed with ${end.code} ${end.reason}`)
  }
  try {
    for (const [index, message] of messages.entries()) {
      client.socket.send(message, { binary: typeof message !== 'string' })
      if (index % BETWEEN_PINGS === BETWEEN_PINGS - 1) await ping(`ping ${index}`)
    }
    await ping('last')
  } catch (error) {
    faults.push(`${error} after one of ${JSON.stringify(messages.slice(-ON_ONE_SOCKET).map(String)).slice(0, 2_000)}`)
  }
  const sent = messages.map(String).join()
  faults.push(...client.frames.flatMap((frame) => faultOf(frame, sent) ?? []))
  client.socket.terminate()
  return faults
}

test(`${MESSAGES} malformed messages are refused one by one, and the socket stays open`, async () => {
  const server = await runStormServer()
  const messages = fc.sample(malformedMessage(server.ids), { seed: SEED, numRuns: MESSAGES })
  const parts = Array.from({ length: MESSAGES / ON_ONE_SOCKET }, (_, index) =>
    messages.slice(index * ON_ONE_SOCKET, (index + 1) * ON_ONE_SOCKET),
  )
  const faults: string[] = []
  await inParallel(parts, SOCKETS, async (part) => {
    faults.push(...(await converse(server, part)))
  })
  expect(faults.slice(0, SHOWN_FAULTS), `seed ${SEED}: ${faults.length}`).toEqual([])
  expect(crashes, `seed ${SEED}`).toEqual([])
  expect(await isHealthy(server)).toBe(true)
}, 120_000)

/** Codes of the protocol, and our own. */
const CODES: readonly number[] = [
  1000,
  1001,
  1002,
  1003,
  1005,
  1006,
  1007,
  1009,
  3000,
  4999,
  ...Object.values(SOCKET_CLOSE).map(({ code }) => code),
]

test(`${BROKEN} broken frames end their socket and nothing else`, async () => {
  const server = await runStormServer()
  const inputs = fc.sample(malformedBytes, { seed: SEED + 3, numRuns: BROKEN })
  const faults: string[] = []
  const codes = new Map<number, number>()
  await inParallel(inputs, SOCKETS, async (bytes) => {
    const shown = bytes.subarray(0, 60).toString('hex')
    const got = await pourBytes(server.url, server.key, bytes, ANSWER_WITHIN_MS)
    if (!got) return void faults.push(`is left open: ${shown}`)
    codes.set(got.code, (codes.get(got.code) ?? 0) + 1)
    if (!CODES.includes(got.code)) faults.push(`is closed with ${got.code}: ${shown}`)
    for (const text of got.texts) {
      const fault = faultOf(JSON.parse(text), bytes.toString('latin1'))
      if (fault !== undefined) faults.push(`${fault}: ${shown}`)
    }
  })
  expect(faults.slice(0, SHOWN_FAULTS), `seed ${SEED + 3}: ${faults.length} of ${BROKEN}`).toEqual([])
  expect(codes.get(1002)).toBeGreaterThan(BROKEN / 4)
  expect(crashes, `seed ${SEED + 3}`).toEqual([])
  expect(await isHealthy(server)).toBe(true)
}, 120_000)
