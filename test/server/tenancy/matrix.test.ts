import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createFlowId } from '../../../src/orchestrator/flow-id.ts'
import type { Answer } from '../running-server.ts'
import { createCallers, type RowCaller } from './callers.ts'
import { routesOf } from './route-list.ts'
import { ROWS, type Row, type Target } from './rows.ts'
import { createWorld, type Mark, type Person, type World } from './world.ts'

interface Case {
  /** Method and path as they are registered. */
  readonly name: string
  readonly caller: RowCaller
  readonly row: Row
  readonly method: string
  readonly target: Target
  /** How the target stands to the caller. */
  readonly kind: 'own' | 'foreign' | 'unknown' | 'guessed'
}

const OWN: Record<Person, Mark> = { ada: 'canary-ada-shared', bea: 'canary-bea', cyd: 'canary-cyd', eve: 'canary-eve' }
const HELD: Record<Person, Partial<Record<Mark, readonly string[]>>> = {
  ada: { 'canary-ada-shared': ['read', 'write', 'delete'], 'canary-ada-private': ['read', 'write', 'delete'] },
  bea: { 'canary-bea': ['read', 'write', 'delete'], 'canary-ada-shared': ['read'] },
  cyd: { 'canary-cyd': ['read', 'write', 'delete'], 'canary-ada-shared': ['read', 'write'] },
  eve: { 'canary-eve': ['read', 'write', 'delete'] },
}

const withIds = (target: Target, id: string): Target => ({ ...target, threadId: id, doneFlowId: id, waitingFlowId: id })
const unknown = (target: Target): Target => ({
  ...target,
  threadId: randomUUID(),
  doneFlowId: createFlowId(),
  waitingFlowId: createFlowId(),
})
const nextOf = (id: string) => `${id.slice(0, -1)}${(Number.parseInt(id.slice(-1), 16) ^ 1).toString(16)}`

/** Ids that somebody may try who knows that of another. */
const guesses = (foreign: Target): readonly Target[] => [
  {
    ...foreign,
    threadId: nextOf(foreign.threadId),
    doneFlowId: nextOf(foreign.doneFlowId),
    waitingFlowId: nextOf(foreign.waitingFlowId),
  },
  {
    ...foreign,
    threadId: foreign.threadId.toUpperCase(),
    doneFlowId: foreign.doneFlowId.toUpperCase(),
    waitingFlowId: foreign.waitingFlowId.toUpperCase(),
  },
  {
    ...foreign,
    threadId: `${foreign.threadId} `,
    doneFlowId: `${foreign.doneFlowId}\t`,
    waitingFlowId: `{${foreign.waitingFlowId}}`,
  },
  { ...foreign, threadId: foreign.doneFlowId, doneFlowId: foreign.threadId, waitingFlowId: foreign.threadId },
  withIds(foreign, `${foreign.threadId}' or '1'='1`),
  withIds(foreign, "x' union select * from polyphony_threads --"),
  withIds(foreign, '%'),
  withIds(foreign, '*'),
  withIds(foreign, `../threads/${foreign.threadId}`),
  withIds(foreign, `${foreign.threadId}\0`),
  withIds(foreign, '__proto__'),
  withIds(foreign, 'null'),
  withIds(foreign, '00000000-0000-0000-0000-000000000000'),
]

function statusesOf({
  caller: { person, lacks },
  row: { scope, right, done, ownerOnly },
  target,
  kind,
}: Case): readonly number[] {
  if (scope === 'public') return [done]
  if (person === undefined) return [401]
  if (lacks === scope) return [403]
  if (right === undefined) return [done]
  if (kind === 'unknown') return [404]
  // Text that no id can be is refused as such, before anybody looks for it.
  if (kind === 'guessed') return [404, 422]
  if (ownerOnly && target.owner !== person) return [404]
  const rights = HELD[person][target.mark] ?? []
  return rights.includes(right) ? [done] : [rights.includes('read') ? 403 : 404]
}

const UNSTEADY_HEADERS = ['date', 'x-request-id', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'etag', 'last-modified']

/** An answer without the ids that were asked for, and without what differs from answer to answer. */
function sameShape({ status, headers, text, json }: Answer, { threadId, doneFlowId, waitingFlowId }: Target): string {
  const kept = [...headers].filter(([name]) => !UNSTEADY_HEADERS.includes(name))
  let shown = JSON.stringify([status, kept, 'requestId' in json ? JSON.stringify({ ...json, requestId: '' }) : text])
  for (const id of [threadId, doneFlowId, waitingFlowId]) shown = shown.replaceAll(id, '<id>')
  return shown
}

for (const kind of ['memory', 'postgres'] as const) {
  test(`every endpoint gives everybody what is theirs, and nobody anything else (${kind})`, async () => {
    const world = await createWorld(kind)
    const callers = await createCallers(world)
    const routes = routesOf(world.server.app)
    expect(
      routes.map(({ name }) => name).filter((name) => !ROWS[name]),
      'endpoints without a row',
    ).toEqual([])
    expect(
      Object.keys(ROWS).filter((name) => !routes.some((route) => route.name === name)),
      'rows without an endpoint',
    ).toEqual([])

    let asked = 0
    for (const { name, method } of routes) {
      for (const row of ROWS[name] ?? []) {
        const cases = callers
          .filter(({ lacks }) => lacks === undefined || lacks === row.scope)
          .flatMap((caller) => casesOf(world, { caller, row, method, name }))
        await checkRefused(
          world,
          name,
          cases.filter((one) => !isDone(one)),
        )
        for (const one of cases) if (isDone(one)) await checkDone(world, one)
        asked += cases.length
      }
    }
    expect(asked).toBeGreaterThan(1_000)
  }, 120_000)
}

/** All targets for one caller of one endpoint. */
function casesOf({ things }: World, common: Pick<Case, 'caller' | 'row' | 'method' | 'name'>): readonly Case[] {
  const { caller, row } = common
  const { person } = caller
  const aim = (kind: Case['kind']) => (target: Target) => ({ ...common, kind, target })
  if (row.right === undefined) return [aim('own')(things[OWN[person ?? 'eve']])]
  const held = person === undefined ? [] : (Object.keys(HELD[person]) as Mark[])
  const foreign =
    person === undefined ? [things['canary-ada-private']] : Object.values(things).filter(({ mark }) => !held.includes(mark))
  const isGuessing = caller.role === 'eve' || caller.role === 'bea'
  return [
    ...held.map((mark) => aim('own')(things[mark])),
    // An unknown one stands behind every foreign one that it is compared with.
    ...foreign.flatMap((target) => [aim('foreign')(target), aim('unknown')(unknown(target))]),
    ...(isGuessing ? guesses(things['canary-ada-private']).map(aim('guessed')) : []),
  ]
}

const isDone = (one: Case): boolean => statusesOf(one).includes(one.row.done)

/** What must be refused changes nothing, and tells foreign ids from unknown ones by nothing. */
async function checkRefused(world: World, name: string, cases: readonly Case[]): Promise<void> {
  const before = await world.dump()
  const answers = await Promise.all(cases.map((one) => askAndCheck(world, one)))
  expect(changesBetween(before, await world.dump()), `${name}, refused, has changed`).toEqual([])
  for (const [index, { kind, caller }] of cases.entries()) {
    if (kind !== 'unknown') continue
    expect(answers[index]?.shape, `${name} as ${caller.role} tells a foreign id`).toBe(answers[index - 1]?.shape)
  }
}

/** What is done touches nothing that its caller may not see. */
async function checkDone(world: World, one: Case): Promise<void> {
  const changes = one.method !== 'GET' && one.method !== 'HEAD' && one.row.scope !== 'public'
  const target = changes && one.row.right !== undefined ? await world.fresh(one.target.mark) : one.target
  const before = changes ? await world.dump() : undefined
  const { said } = await askAndCheck(world, { ...one, target })
  if (!before) return
  for (const change of changesBetween(before, await world.dump())) {
    expect(world.leaks(change, one.caller.person, said), `${one.name} as ${one.caller.role} has changed ${change}`).toEqual([])
  }
  if (target !== one.target) await world.remove(target)
}

async function askAndCheck(world: World, one: Case): Promise<{ readonly shape: string; readonly said: string }> {
  const { caller, row, method, target, kind, name } = one
  const { path, body, headers } = row.ask(target)
  const said = `${path} ${decodeURIComponent(path)} ${JSON.stringify(body)}`
  const answer = await world.send(method, path, { body, headers: { ...headers, ...caller.headers } })
  const where = `${name} as ${caller.role}, ${kind} ${target.threadId}: ${answer.status} ${answer.text.slice(0, 500)}`
  expect(statusesOf(one), where).toContain(answer.status)
  if (row.scope !== 'public') {
    const told = `${answer.text} ${JSON.stringify([...answer.headers])}`
    expect(world.leaks(told, caller.person, said), where).toEqual([])
    if (answer.status >= 400) expect(answer.headers.get('content-type'), where).toMatch(/^application\/problem\+json/)
    if (answer.status >= 400) expect(answer.json.code, where).toEqual(expect.any(String))
  }
  return { shape: sameShape(answer, target), said }
}

const changesBetween = (before: ReadonlySet<string>, after: ReadonlySet<string>): readonly string[] => [
  ...[...before].filter((row) => !after.has(row)),
  ...[...after].filter((row) => !before.has(row)),
]
