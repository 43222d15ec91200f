import { afterEach, beforeAll, expect, test } from 'vitest'
import { send } from '../running-server.ts'
import {
  bytesThatFit,
  createEndlessFlow,
  createWritingFlow,
  type ServerMemory,
  type ServerProcess,
  startFlow,
  startServerProcess,
  type Writing,
  writtenText,
} from '../server-process.ts'
import { createSeen, digestOf, type Ending, type Line, readEvents, readSocket, type Seen } from './cut-reader.ts'

const HEALTHY = 20
const STOPPED = 200
/** Of streams that are cut: each takes as much as the system gives it, which is megabytes. */
const CUT = 20
const MOST_WAITING_BYTES = 1_000_000
const CHARACTERS = 10_000
const OPTIONS = { timeout: 300_000 }

let server: ServerProcess | undefined
afterEach(() => server?.kill())

/** What the flow writes: more than the system takes for a connection that nobody reads, and what the server may hold for it. */
let stream: Writing
beforeAll(async () => {
  const pieces = Math.ceil(((await bytesThatFit()) + 2 * MOST_WAITING_BYTES) / CHARACTERS)
  stream = { pieces, everyMs: 1, characters: CHARACTERS, inShort: true }
})

async function open() {
  server = await startServerProcess()
  return { server, url: server.url, flowId: await createWritingFlow(server.url, stream) }
}

interface Reader {
  readonly seen: Seen
  readonly line: Line
  readonly ended: Promise<Ending>
}

type Read = typeof readSocket

/** Readers that follow from the start. */
function openReaders(url: string, flowId: string, count: number, reads: readonly Read[]): Promise<readonly Reader[]> {
  const openOne = (read: Read = readSocket) =>
    new Promise<Reader>((resolve, reject) => {
      const { seen, add } = createSeen()
      const ended = read({
        url,
        flowId,
        afterSeq: 0,
        cutAfter: Number.POSITIVE_INFINITY,
        onUpdate: add,
        onOpen: (line) => resolve({ seen, line, ended }),
      })
      ended.catch(reject)
    })
  return Promise.all(Array.from({ length: count }, (_, index) => openOne(reads[index % reads.length])))
}

/** Twenty healthy readers and others that do not read, to the end of the flow. */
async function runBeside(place: Awaited<ReturnType<typeof open>>, count: number, reads: readonly Read[]) {
  const { url, flowId } = place
  const healthy = await openReaders(url, flowId, HEALTHY, [readSocket, readEvents])
  const stopped = await openReaders(url, flowId, count, reads)
  for (const { line } of stopped) line.pause()
  await place.server.rest()
  await startFlow(url, flowId)
  const endings = await Promise.all(healthy.map(({ ended }) => ended))
  const text = digestOf(writtenText(stream))
  for (const { seen } of healthy) expect(seen.text()).toBe(text)
  for (const ending of endings) expect(ending).toMatchObject({ status: 'COMPLETED' })
  return { healthy, stopped }
}

test('stopped readers use at most a megabyte each, and get all updates when they read again', OPTIONS, async () => {
  const place = await open()
  const { healthy, stopped } = await runBeside(place, STOPPED, [readSocket, readEvents])
  const during = await place.server.memory()
  // They did not just fit into what the system takes.
  expect(during.waitingBytes).toBeGreaterThan(STOPPED * 200_000)
  for (const { line } of stopped) line.resume()
  const endings = await Promise.all(stopped.map(({ ended }) => ended))
  const { mostWaitingBytes } = await place.server.memory()
  expect(mostWaitingBytes).toBeLessThan(MOST_WAITING_BYTES)
  const [reference] = healthy
  for (const ending of endings) expect(ending).toEqual({ status: 'COMPLETED', lastSeq: reference?.seen.lastSeq })
  expect(new Set(stopped.map(({ seen }) => seen.story()))).toEqual(new Set([reference?.seen.story()]))
  const updates = stopped.reduce((sum, { seen }) => sum + seen.updates, 0) / STOPPED
  if (process.env.REPORT_STOPPED) console.log({ updates, healthy: reference?.seen.updates, mostWaitingBytes, during })
  expect(updates).toBeLessThan(reference?.seen.updates ?? 0)
})

// How much the system takes for a connection changes while it is busy, so that no size is sure to be more: the flow writes until the last is slow.
test.each([
  ['sockets that stay unread are closed with a reason that the client can still read', readSocket, 4008],
  ['event streams that stay unread are disconnected', readEvents, 1006],
] as const)('%s', { timeout: 180_000 }, async (_title, read, code) => {
  server = await startServerProcess({ server: { sockets: { slowAfterMs: 1_000 } } })
  const { url } = server
  const flowId = await createEndlessFlow(url, { everyMs: 1, characters: 10 * CHARACTERS })
  const { connections } = await server.memory()
  const stopped = await openReaders(url, flowId, CUT, [read])
  for (const { line } of stopped) line.pause()
  await startFlow(url, flowId)
  const areCut = ({ slowSockets, connections: open }: ServerMemory) =>
    read === readSocket ? slowSockets === CUT : open <= connections
  while (!areCut(await server.memory())) await new Promise((resolve) => setTimeout(resolve, 10))
  for (const { line } of stopped) line.resume()
  const endings = await Promise.all(stopped.map(({ ended }) => ended))
  expect(endings).toEqual(stopped.map(() => ({ cut: code })))
  expect((await send(url, 'GET', `/api/v1/flows/${flowId}/status`)).json.status).toBe('RUNNING')
})
