import { expect, test } from 'vitest'
import { SCOPES, type Scope } from '../../../src/domain/users/api-key.ts'
import type { ThreadRight } from '../../../src/domain/users/thread.ts'
import { type ClientFrameInput, clientFrame } from '../../../src/protocol/socket.ts'
import { SOCKET_MESSAGES } from '../../../src/server/socket/messages.ts'
import { connect, type Frame, type SocketClient, upgradeStatus } from '../socket-client.ts'
import { createCallers } from './callers.ts'
import { changesBetween, foreignTo, guessedIds, holdsRight, nobodysIds } from './standing.ts'
import { createWorld, type Mark, PEOPLE, type Person, type Things, type World } from './world.ts'

interface FrameRow {
  /** Besides `read`, which opening a socket takes. */
  readonly scope?: Scope
  /** Right on the thread of the flow; absent: the frame is about the socket alone, and says nothing of any flow. */
  readonly right?: ThreadRight
  /** Type of the frame that answers. */
  readonly done: string
  readonly frame: (flow: Pick<Things, 'doneFlowId' | 'waitingFlowId'>) => ClientFrameInput
}

/** Every frame that a client may send, by its type; one without a row fails the matrix. */
const FRAMES: Readonly<Record<string, FrameRow>> = {
  subscribe: { right: 'read', done: 'subscribed', frame: ({ doneFlowId }) => ({ type: 'subscribe', flowId: doneFlowId }) },
  unsubscribe: { done: 'unsubscribed', frame: ({ doneFlowId }) => ({ type: 'unsubscribe', flowId: doneFlowId }) },
  execute: {
    scope: 'execute',
    right: 'write',
    done: 'status',
    frame: ({ waitingFlowId }) => ({ type: 'execute', flowId: waitingFlowId, options: { input: 'go' } }),
  },
  cancel: {
    scope: 'execute',
    right: 'write',
    done: 'status',
    frame: ({ waitingFlowId }) => ({ type: 'cancel', flowId: waitingFlowId }),
  },
  // The step has ended, so an answer that is allowed comes too late.
  signal: {
    scope: 'execute',
    right: 'write',
    done: 'refused',
    frame: ({ doneFlowId }) => ({ type: 'signal', flowId: doneFlowId, path: 'step', answer: { approved: true } }),
  },
  subscribe_events: {
    done: 'events_subscribed',
    frame: ({ doneFlowId }) => ({ type: 'subscribe_events', filter: { correlationId: doneFlowId }, afterSeq: 0 }),
  },
  unsubscribe_events: { done: 'events_unsubscribed', frame: () => ({ type: 'unsubscribe_events' }) },
  subscribe_services: { scope: 'operate', done: 'services_subscribed', frame: () => ({ type: 'subscribe_services' }) },
  ping: { done: 'pong', frame: () => ({ type: 'ping' }) },
}

for (const kind of ['memory', 'postgres'] as const) {
  test(`every frame gives each user access to their own data only (${kind})`, async () => {
    const types = clientFrame.options.flatMap(({ shape }) => [...shape.type.values])
    expect(Object.keys(FRAMES).sort()).toEqual([...types].sort())
    for (const [type, { scope }] of Object.entries(SOCKET_MESSAGES)) expect(scope, type).toBe(FRAMES[type]?.scope ?? 'read')
    const world = await createWorld(kind)
    for (const [type, row] of Object.entries(FRAMES)) {
      for (const person of PEOPLE) await checkPerson(world, { type, row, person })
    }
  }, 120_000)
}

test('a socket needs a valid key with the scope read', async () => {
  const world = await createWorld('memory')
  for (const { role, person, lacks, headers } of await createCallers(world)) {
    const expected = person === undefined ? 401 : lacks === 'read' ? 403 : 101
    expect(await upgradeStatus(world.url, { headers }), role).toBe(expected)
  }
})

test('a key without the scope execute streams flows but neither starts nor cancels any', async () => {
  const world = await createWorld('memory')
  const key = await world.keyWith(
    'ada',
    SCOPES.filter((scope) => scope !== 'execute'),
  )
  const { waitingFlowId, doneFlowId } = world.things['canary-ada-shared']
  const client = await connect(world.url, { key })
  const before = await world.dump()
  for (const type of ['execute', 'cancel'] as const) {
    const answer = await ask(client, { type, flowId: waitingFlowId })
    expect(answer).toMatchObject({ type: 'refused', problem: { code: 'PERMISSION_DENIED', details: { scope: 'execute' } } })
  }
  expect(changesBetween(before, await world.dump())).toEqual([])
  expect(await ask(client, { type: 'subscribe', flowId: doneFlowId })).toMatchObject({ type: 'subscribed' })
})

interface Checked {
  readonly type: string
  readonly row: FrameRow
  readonly person: Person
}

async function checkPerson(world: World, { type, row, person }: Checked): Promise<void> {
  const what = `${type} by ${person}`
  const client = await connect(world.url, { key: world.keys[person] })
  const said: string[] = []
  const send = (things: Pick<Things, 'doneFlowId' | 'waitingFlowId'>): Promise<Frame> => {
    const frame = row.frame(things)
    said.push(JSON.stringify(frame))
    return ask(client, frame)
  }
  const before = await world.dump()
  for (const foreign of foreignTo(person, Object.values(world.things))) {
    const [told, unknown] = [await send(foreign), nobodysIds()]
    expect(told.type, what).toBe(row.right ? 'refused' : row.done)
    expect(sameShape(told, foreign), what).toBe(sameShape(await send(unknown), unknown))
  }
  for (const guessed of guessedIds(world.things['canary-ada-private'])) {
    const told = await send(guessed)
    // Text that no id can be is refused with its place, before anybody looks for it.
    expect([row.right ? 'refused' : row.done, 'refused'], what).toContain(told.type)
  }
  for (const mark of Object.keys(world.things) as Mark[]) {
    if (row.right === undefined || holdsRight(person, mark, row.right) || !holdsRight(person, mark, 'read')) continue
    expect(await send(world.things[mark]), what).toMatchObject({ type: 'refused', problem: { code: 'PERMISSION_DENIED' } })
  }
  expect(changesBetween(before, await world.dump()), `${what}, refused, has changed`).toEqual([])

  for (const mark of Object.keys(world.things) as Mark[]) {
    if (row.right && !holdsRight(person, mark, row.right)) continue
    const things = await world.fresh(mark)
    const from = await world.dump()
    expect((await send(things)).type, `${what} on ${mark}`).toBe(row.done)
    if (type === 'subscribe') await client.next((frame) => frame.type === 'end' && frame.flowId === things.doneFlowId)
    if (type === 'execute') await world.ended(things.waitingFlowId)
    for (const change of changesBetween(from, await world.dump())) {
      expect(world.leaks(change, person, said.join()), `${what} has changed ${change}`).toEqual([])
    }
    await world.remove(things)
  }
  expect(world.leaks(JSON.stringify(client.frames), person, said.join()), what).toEqual([])
  client.socket.close()
}

let asked = 0
function ask(client: SocketClient, frame: ClientFrameInput): Promise<Frame> {
  const requestId = `r${asked++}`
  client.send({ ...frame, requestId })
  return client.next((answer) => answer.requestId === requestId || (answer.type === 'refused' && answer.requestId === undefined))
}

const sameShape = (frame: Frame, { doneFlowId, waitingFlowId }: Pick<Things, 'doneFlowId' | 'waitingFlowId'>): string =>
  JSON.stringify({ ...frame, requestId: '' })
    .replaceAll(doneFlowId, '<id>')
    .replaceAll(waitingFlowId, '<id>')
