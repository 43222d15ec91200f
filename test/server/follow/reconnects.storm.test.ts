import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { administrate, openTestPostgres } from '../../support/postgres.ts'
import { send } from '../running-server.ts'
import { createWritingFlow, type ServerProcess, startFlow, startServerProcess, writtenText } from '../server-process.ts'
import { digestOf, followOverCuts, type Seen } from './cut-reader.ts'

const FOLLOWERS = 25
const STREAM = { pieces: 2_000, everyMs: 1 }
const OPTIONS = { timeout: 240_000 }

type Finishing = Pick<TestContext, 'onTestFinished'>

async function start(database: string, { onTestFinished }: Finishing): Promise<ServerProcess> {
  const server = await startServerProcess({ database })
  onTestFinished(() => server.kill())
  return server
}

const between = (least: number, most: number): number => least + Math.floor(Math.random() * (most - least))

/** What every follower saw is what is stored, once and whole. */
async function expectWhole(url: string, flowId: string, followers: readonly Seen[]): Promise<void> {
  const stored = await followOverCuts({ flowId, url: () => url, cutAfter: () => Number.POSITIVE_INFINITY })
  expect(stored.connections).toBe(1)
  const { json } = await send(url, 'GET', `/api/v1/flows/${flowId}`)
  expect(json).toMatchObject({ status: 'COMPLETED', stepResults: [{ stepId: 'write', output: writtenText(STREAM) }] })
  for (const { story, text, lastSeq } of followers) {
    expect(story()).toBe(stored.story())
    expect(text()).toBe(digestOf(writtenText(STREAM)))
    expect(lastSeq).toBe(stored.lastSeq)
  }
}

const cutsOf = (followers: readonly Seen[]): number => followers.reduce((sum, { cuts }) => sum + cuts, 0)

test.concurrent(
  'five hundred disconnections at random points of a stream lose and repeat no update',
  OPTIONS,
  async (context) => {
    const { url } = await start('memory://', context)
    const flowId = await createWritingFlow(url, STREAM)
    const follow = () => followOverCuts({ flowId, url: () => url, cutAfter: () => between(1, 120) })
    const live = Array.from({ length: FOLLOWERS }, follow)
    await startFlow(url, flowId)
    const followers = await Promise.all(live)
    // The same after its end, from what is stored.
    followers.push(...(await Promise.all(Array.from({ length: FOLLOWERS }, follow))))
    await expectWhole(url, flowId, followers)
    if (process.env.REPORT_CUTS) console.log('cuts', cutsOf(followers))
    expect(cutsOf(followers)).toBeGreaterThan(500)
  },
)

/** Kills the server that runs the flow at a random point, over and over, while everybody follows. */
async function followOverKills(flowId: string, first: ServerProcess, next: () => Promise<ServerProcess>, kills: number) {
  let last = first
  let current: ServerProcess | undefined = first
  let killed = 0
  let killing: Promise<void> | undefined
  let killAt = between(100, 1_500)
  const onUpdate = ({ lastSeq }: Seen) => {
    if (killing || killed === kills || lastSeq < killAt) return
    current = undefined
    killing = last.kill().then(async () => {
      killed++
      last = await next()
      current = last
      killing = undefined
      killAt = lastSeq + between(100, 1_500)
    })
  }
  const nowhere = 'http://127.0.0.1:9'
  const url = () => current?.url ?? nowhere
  const live = Array.from({ length: FOLLOWERS }, () =>
    followOverCuts({ flowId, url, cutAfter: () => between(50, 800), onUpdate }),
  )
  await startFlow(first.url, flowId)
  const followers = await Promise.all(live)
  await killing
  expect(killed).toBe(kills)
  return { followers, last }
}

test.concurrent(
  'a server that is killed and restarted on the embedded database continues its streams',
  OPTIONS,
  async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'polyphony-follow-'))
    context.onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const database = `pglite://${join(folder, 'data')}`
    const first = await start(database, context)
    const flowId = await createWritingFlow(first.url, STREAM)
    const { followers, last } = await followOverKills(flowId, first, () => start(database, context), 2)
    if (process.env.REPORT_CUTS) console.log('cuts', cutsOf(followers))
    // What is finished outlives the process too.
    await last.kill()
    const { url } = await start(database, context)
    await expectWhole(url, flowId, followers)
  },
)

test.concurrent(
  'five hundred disconnections with a change of the server, while the connections for notifications are cut, lose and repeat no update',
  OPTIONS,
  async (context) => {
    const postgres = await openTestPostgres()
    context.onTestFinished(() => postgres.drop())
    const servers = await Promise.all([start(postgres.url, context), start(postgres.url, context)])
    const flowId = await createWritingFlow(servers[0].url, STREAM)
    let cutAt = between(100, 400)
    let cuts = 0
    const live = Array.from({ length: FOLLOWERS }, () =>
      followOverCuts({
        flowId,
        url: (connection) => servers[connection % 2 === 0 ? 0 : 1].url,
        cutAfter: () => between(1, 120),
        onUpdate: ({ lastSeq }) => {
          if (lastSeq < cutAt) return
          cutAt = lastSeq + between(100, 400)
          cuts++
          void administrate(
            postgres.url,
            `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'polyphony notifications'`,
          )
        },
      }),
    )
    await startFlow(servers[0].url, flowId)
    const followers = await Promise.all(live)
    // What is stored is compacted by now, or is compacted meanwhile.
    followers.push(
      ...(await Promise.all(
        Array.from({ length: FOLLOWERS }, () =>
          followOverCuts({
            flowId,
            url: (connection) => servers[connection % 2 === 0 ? 1 : 0].url,
            cutAfter: () => between(1, 120),
          }),
        ),
      )),
    )
    if (process.env.REPORT_CUTS) console.log('cuts of readers', cutsOf(followers), 'of notifications', cuts)
    await expectWhole(servers[1].url, flowId, followers)
    expect(cutsOf(followers)).toBeGreaterThan(500)
    expect(cuts).toBeGreaterThan(3)
  },
)

test.concurrent(
  'two servers on one Postgres serve the same stream, even when the one that runs the flow is killed',
  OPTIONS,
  async (context) => {
    const postgres = await openTestPostgres()
    context.onTestFinished(() => postgres.drop())
    const [first, second] = await Promise.all([start(postgres.url, context), start(postgres.url, context)])
    const flowId = await createWritingFlow(first.url, STREAM)
    const killAt = between(200, 1_800)
    let killed: Promise<void> | undefined
    const live = Array.from({ length: FOLLOWERS }, () =>
      followOverCuts({
        flowId,
        // Now one server, now the other; also the one that is no longer there.
        url: (connection) => (connection % 3 === 0 ? first : second).url,
        cutAfter: () => between(10, 300),
        onUpdate: ({ lastSeq }) => {
          if (lastSeq > killAt) killed ??= first.kill()
        },
      }),
    )
    await startFlow(first.url, flowId)
    const followers = await Promise.all(live)
    await killed
    expect(first.isAlive()).toBe(false)
    if (process.env.REPORT_CUTS) console.log('cuts', cutsOf(followers))
    await expectWhole(second.url, flowId, followers)
  },
)
