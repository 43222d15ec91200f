import pg from 'pg'
import { onTestFinished } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { SCOPES, type Scope } from '../../../src/domain/users/api-key.ts'
import type { ThreadRight } from '../../../src/domain/users/thread.ts'
import type { Polyphony } from '../../../src/polyphony.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import type { HttpServerOptions } from '../../../src/server/server.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { type RunningServer, runServer } from '../running-server.ts'

/** The owner, a member who may read, one who may also write, and somebody who has nothing to do with them. */
export const PEOPLE = ['ada', 'bea', 'cyd', 'eve'] as const
export type Person = (typeof PEOPLE)[number]
export const userOf = (person: Person): string => `user-${person}`

/** Whose a thing is and who may see it; also the text that marks everything in it. */
export type Mark = 'canary-ada-shared' | 'canary-ada-private' | 'canary-bea' | 'canary-cyd' | 'canary-eve'
const OWNER: Record<Mark, Person> = {
  'canary-ada-shared': 'ada',
  'canary-ada-private': 'ada',
  'canary-bea': 'bea',
  'canary-cyd': 'cyd',
  'canary-eve': 'eve',
}
const RIGHTS: Partial<Record<Person, readonly ThreadRight[]>> = { bea: ['read'], cyd: ['read', 'write'] }

/** A thread with a message, a flow that has ended, which is a response as well, and one that waits. */
export interface Things {
  readonly mark: Mark
  readonly owner: Person
  readonly threadId: string
  readonly doneFlowId: string
  readonly waitingFlowId: string
  readonly stepId: string
  /** Of the models, in a thread of its own that nobody else has a right on. */
  readonly responseId: string
  /** An image of a message in the thread. */
  readonly fileId: string
}

const VISIBLE: Record<Person, readonly string[]> = {
  ada: ['canary-ada-shared', 'canary-ada-private', 'user-ada', 'user-bea', 'user-cyd'],
  bea: ['canary-bea', 'canary-ada-shared', 'user-ada', 'user-bea', 'user-cyd'],
  cyd: ['canary-cyd', 'canary-ada-shared', 'user-ada', 'user-bea', 'user-cyd'],
  eve: ['canary-eve', 'user-eve'],
}
const MARK = /canary-[a-z]+(?:-shared|-private)?|user-(?:ada|bea|cyd|eve)/g

export const definitionOf = (mark: Mark): FlowDefinitionInput => ({
  name: `${mark} flow`,
  description: `${mark} description`,
  type: 'sequential',
  steps: [{ id: `${mark}-step`, action: 'generate', provider: 'scripted', model: 'm', prompt: `${mark} {{ original }}` }],
})

/** Rows as text, by table. A table that has not changed keeps its set. */
export type Dump = ReadonlyMap<string, ReadonlySet<string>>

export interface World extends RunningServer {
  readonly keys: Record<Person, string>
  /** Things of everybody that no test changes. */
  readonly things: Record<Mark, Things>
  fresh(mark: Mark): Promise<Things>
  /** The threads and all of them, where they are still there. */
  remove(things: Pick<Things, 'owner' | 'threadId' | 'responseId'>): Promise<void>
  /** Resolves when the flow has ended. */
  ended(flowId: string): Promise<void>
  keyWith(person: Person, scopes: readonly Scope[]): Promise<string>
  /** Every row there is, as text; without what processes note about themselves. */
  dump(): Promise<Dump>
  /** What of the text the person must not see; `said` is what the request itself held. Nobody: a caller without a valid key. */
  leaks(text: string, person: Person | undefined, said?: string): readonly string[]
}

const ENOUGH_REQUESTS = 1_000_000

/** Four people, their things, and a server over memory or over a Postgres of its own. */
export async function createWorld(
  kind: 'memory' | 'postgres',
  config: PolyphonyConfigInput = {},
  options: HttpServerOptions = {},
): Promise<World> {
  const database = kind === 'postgres' ? await ownPostgres() : 'memory://'
  const scripted = createScriptedProvider({
    replies: ({ messages }) => `answer with ${messages.map(({ content }) => content.match(MARK)?.join(' ')).join(' ')}`,
  })
  const running = await runServer(
    {
      database,
      simulator: false,
      providers: { scripted },
      agents: { qa: { model: 'scripted/m' } },
      ...config,
      server: { requestsPerMinute: ENOUGH_REQUESTS, ...config.server },
    },
    options,
  )
  const { polyphony } = running
  const client = kind === 'postgres' ? await connectTo(database) : undefined
  const domainOf = new Map<string, Mark>()

  async function fresh(mark: Mark): Promise<Things> {
    const owner = OWNER[mark]
    const user = userOf(owner)
    const { id: threadId } = await polyphony.conversations.createThread(user, { title: `${mark} title` })
    const { attachments } = await polyphony.conversations.addMessage(threadId, user, {
      role: 'user',
      content: `${mark} message`,
      attachments: [
        { name: `${mark}.txt`, mediaType: 'text/plain', text: `${mark} attachment` },
        { name: `${mark}.bin`, mediaType: 'application/pdf', data: Buffer.from(`%PDF ${mark} bytes`) },
      ],
      metadata: { note: `${mark} metadata` },
    })
    if (mark === 'canary-ada-shared') {
      for (const [member, rights] of [['bea', RIGHTS.bea] as const, ['cyd', RIGHTS.cyd] as const]) {
        await polyphony.permissions.grant(threadId, user, userOf(member), rights ?? [])
      }
    }
    const done = await polyphony.orchestrator.createFlow(threadId, user, definitionOf(mark))
    const metadata = { note: `${mark} metadata`, openai_response: { model: `flow/${mark} flow`, background: false } }
    await polyphony.orchestrator.executeFlow(done.id, user, { input: `${mark} input`, metadata })
    const waiting = await polyphony.orchestrator.createFlow(threadId, user, definitionOf(mark))
    const response = await running.send('POST', '/v1/responses', {
      key: keys[owner],
      body: { model: `flow/${done.id}`, input: `${mark} input`, instructions: `${mark} instructions` },
    })
    const responseId = String(response.json.id)
    const fileId = attachments?.[1]?.file?.id ?? ''
    for (const id of [threadId, done.id, waiting.id, flowOfResponse(responseId), fileId]) domainOf.set(id, mark)
    const flows = { doneFlowId: done.id, waitingFlowId: waiting.id, stepId: `${mark}-step` }
    return { mark, owner, threadId, ...flows, responseId, fileId }
  }

  const keyWith = async (person: Person, scopes: readonly Scope[]) =>
    (await polyphony.apiKeys.create(userOf(person), { scopes })).token
  const all = async <Key extends string, Value>(keys: readonly Key[], make: (key: Key) => Promise<Value>) =>
    Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await make(key)] as const))) as Record<Key, Value>

  const keys = await all(PEOPLE, (person) => keyWith(person, SCOPES))
  for (const person of PEOPLE) {
    await polyphony.dataSharing.set(userOf(person), `provider-of-${person}`, { allowAttachments: true })
  }
  const things = await all(Object.keys(OWNER) as Mark[], fresh)

  return {
    ...running,
    keys,
    things,
    fresh,
    async remove({ owner, threadId, responseId }) {
      const user = userOf(owner)
      const ofResponse = await polyphony.orchestrator.getThreadId(flowOfResponse(responseId), user)
      for (const id of [threadId, ofResponse]) await polyphony.conversations.deleteThread(id, user).catch(() => {})
    },
    keyWith,
    async ended(flowId) {
      const { owner } = Object.values(things).find(({ mark }) => mark === domainOf.get(flowId)) ?? { owner: 'ada' }
      for await (const _ of polyphony.orchestrator.streamFlow(flowId, userOf(owner)));
    },
    dump: client ? await createTableDump(client) : () => dumpServices(polyphony),
    leaks(text, person, said = '') {
      const visible = person === undefined ? [] : VISIBLE[person]
      const marks = (text.match(MARK) ?? []).filter((mark) => !visible.includes(mark))
      const ids = [...domainOf].flatMap(([id, mark]) => (text.includes(id) && !visible.includes(mark) ? [id] : []))
      return [...new Set([...marks, ...ids])].filter((found) => !said.includes(found))
    },
  }
}

const flowOfResponse = (responseId: string): string => responseId.replace(/^resp_/, '')

async function ownPostgres(): Promise<string> {
  const postgres = await openTestPostgres()
  onTestFinished(() => postgres.drop())
  return postgres.url
}

export async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  // The test may take the database away.
  client.on('error', () => {})
  await client.connect()
  onTestFinished(() => client.end())
  return client
}

const ALL_BUT_HEARTBEATS =
  "select tablename as name from pg_tables where schemaname = 'public' and tablename <> 'polyphony_owners' order by 1"
/** The last use of a key is noted whatever comes of the request. */
const ROW = "(to_jsonb(t) - 'last_used_at')::text"

/** Reads the rows of those tables only whose digest is not that of the last dump. */
export async function createTableDump(client: pg.Client): Promise<() => Promise<Dump>> {
  const { rows: tables } = await client.query<{ name: string }>(ALL_BUT_HEARTBEATS)
  // A sum does not depend on the order of the rows, which are not sorted for it.
  const digests = tables.map(
    ({ name }) => `select '${name}' as name, sum(hashtextextended(${ROW}, 0))::text as digest from "${name}" t`,
  )
  const known = new Map<string, { readonly digest: string | null; readonly rows: ReadonlySet<string> }>()
  return async () => {
    const { rows } = await client.query<{ name: string; digest: string | null }>(digests.join(' union all '))
    for (const { name, digest } of rows) {
      if (known.get(name)?.digest === digest) continue
      const read = await client.query<{ row: string }>(`select ${ROW} as row from "${name}" t`)
      known.set(name, { digest, rows: new Set(read.rows.map(({ row }) => row)) })
    }
    return new Map([...known].map(([name, { rows }]) => [name, rows]))
  }
}

/** What the services tell the owners of everything: in memory there are no tables to look at. */
async function dumpServices({ conversations, orchestrator, permissions, dataSharing, apiKeys }: Polyphony): Promise<Dump> {
  const rows: unknown[] = []
  for (const user of [...PEOPLE.map(userOf), 'local']) {
    rows.push(...(await dataSharing.list(user)))
    for (const thread of await conversations.listThreads(user, { limit: 1_000 })) {
      const readings = await Promise.all([
        conversations.getMessages(thread.id, user),
        orchestrator.listFlows(thread.id, user, { limit: 1_000 }),
        permissions.list(thread.id, user).then((members) => members.map((member) => ({ thread: thread.id, ...member }))),
      ])
      rows.push(thread, ...readings.flat())
    }
  }
  for (const { lastUsedAt: _, ...key } of await apiKeys.list()) rows.push(key)
  return new Map([['services', new Set(rows.map((row) => JSON.stringify(row)))]])
}
