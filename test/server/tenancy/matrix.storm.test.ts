import { expect, test } from 'vitest'
import { TOOLS } from '../../../src/server/mcp/tools/tools.ts'
import { isShort } from '../../support/scale.ts'
import type { Answer } from '../running-server.ts'
import { createCallers, type RowCaller } from './callers.ts'
import { routesOf } from './route-list.ts'
import { ROWS, type Row, type Target } from './rows.ts'
import { changesBetween, foreignTo, guessedIds, holdsRight, nobodysIds } from './standing.ts'
import { TOOL_ROWS } from './tool-rows.ts'
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
  if (holdsRight(person, target.mark, right)) return [done]
  return [holdsRight(person, target.mark, 'read') ? 403 : 404]
}

const UNSTEADY_HEADERS = ['date', 'x-request-id', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'etag', 'last-modified']

const REQUEST_ID = /"requestId":"[^"]*"/g

/** An answer without the ids that were asked for, and without what differs from answer to answer. */
function sameShape(
  { status, headers, text }: Answer,
  { threadId, doneFlowId, waitingFlowId, responseId, fileId }: Target,
): string {
  const kept = [...headers].filter(([name]) => !UNSTEADY_HEADERS.includes(name))
  let shown = JSON.stringify([status, kept, text.replaceAll(REQUEST_ID, '')])
  for (const id of [responseId, threadId, doneFlowId, waitingFlowId, fileId]) shown = shown.replaceAll(id, '<id>')
  return shown
}

const KINDS = isShort ? (['memory'] as const) : (['memory', 'postgres'] as const)

for (const kind of KINDS) {
  test(`every endpoint gives each user access to their own data only (${kind})`, async () => {
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

    expect(Object.keys(TOOL_ROWS).sort()).toEqual(TOOLS.map(({ name }) => name).sort())

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
  }, 600_000)
}

/** All targets for one caller of one endpoint. */
function casesOf({ things }: World, common: Pick<Case, 'caller' | 'row' | 'method' | 'name'>): readonly Case[] {
  const { caller, row } = common
  const { person } = caller
  const aim = (kind: Case['kind']) => (target: Target) => ({ ...common, kind, target })
  if (row.right === undefined) return [aim('own')(things[OWN[person ?? 'eve']])]
  const all = Object.values(things)
  const foreign = person === undefined ? [things['canary-ada-private']] : foreignTo(person, all)
  const isGuessing = caller.role === 'eve' || caller.role === 'bea'
  return [
    ...(person === undefined ? [] : all.filter((target) => !foreign.includes(target))).map(aim('own')),
    // An unknown one stands behind every foreign one that it is compared with.
    ...foreign.flatMap((target) => [aim('foreign')(target), aim('unknown')({ ...target, ...nobodysIds() })]),
    ...(isGuessing
      ? guessedIds(things['canary-ada-private']).map((ids) => aim('guessed')({ ...things['canary-ada-private'], ...ids }))
      : []),
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
  expect(statusesOf(one), where).toContain(row.statusOf?.(answer) ?? answer.status)
  if (row.scope !== 'public') {
    const told = `${answer.text} ${JSON.stringify([...answer.headers])}`
    expect(world.leaks(told, caller.person, said), where).toEqual([])
    if (answer.status >= 400 && answer.status !== row.done) {
      const isOpenAi = name.includes(' /v1/')
      expect(answer.headers.get('content-type'), where).toMatch(isOpenAi ? /^application\/json/ : /^application\/problem\+json/)
      if (method === 'HEAD') expect(answer.text, where).toBe('')
      else
        expect(answer.json, where).toMatchObject(
          isOpenAi ? { error: { code: expect.any(String) } } : { code: expect.any(String) },
        )
    }
  }
  return { shape: sameShape(answer, target), said }
}
