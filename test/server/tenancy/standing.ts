import { randomUUID } from 'node:crypto'
import { THREAD_RIGHTS, type ThreadRight } from '../../../src/domain/users/thread.ts'
import { createFlowId } from '../../../src/orchestrator/flows/flow-id.ts'
import type { Dump, Mark, Person, Things } from './world.ts'

export type Ids = Pick<Things, 'threadId' | 'doneFlowId' | 'waitingFlowId' | 'responseId' | 'fileId'>

/** What everybody may do with whose things. */
const RIGHTS: Record<Person, Partial<Record<Mark, readonly ThreadRight[]>>> = {
  ada: { 'canary-ada-shared': THREAD_RIGHTS, 'canary-ada-private': THREAD_RIGHTS },
  bea: { 'canary-bea': THREAD_RIGHTS, 'canary-ada-shared': ['read'] },
  cyd: { 'canary-cyd': THREAD_RIGHTS, 'canary-ada-shared': ['read', 'write'] },
  eve: { 'canary-eve': THREAD_RIGHTS },
}

export const holdsRight = (person: Person, mark: Mark, right: ThreadRight): boolean =>
  RIGHTS[person][mark]?.includes(right) ?? false

export const foreignTo = (person: Person, things: readonly Things[]): readonly Things[] =>
  things.filter(({ mark }) => !holdsRight(person, mark, 'read'))

/** Ids that look like others and belong to nothing. */
export const nobodysIds = (): Ids => ({
  threadId: randomUUID(),
  doneFlowId: createFlowId(),
  waitingFlowId: createFlowId(),
  responseId: `resp_${createFlowId()}`,
  fileId: randomUUID(),
})

const changed = ({ threadId, doneFlowId, waitingFlowId, responseId, fileId }: Ids, change: (id: string) => string): Ids => ({
  threadId: change(threadId),
  doneFlowId: change(doneFlowId),
  waitingFlowId: change(waitingFlowId),
  responseId: change(responseId),
  fileId: change(fileId),
})
const nextOf = (id: string) => `${id.slice(0, -1)}${(Number.parseInt(id.slice(-1), 16) ^ 1).toString(16)}`

/** Ids that somebody may try who knows those of another. */
export const guessedIds = (foreign: Ids): readonly Ids[] => [
  {
    ...foreign,
    threadId: foreign.doneFlowId,
    doneFlowId: foreign.threadId,
    waitingFlowId: foreign.threadId,
    responseId: `resp_${foreign.doneFlowId}`,
    fileId: foreign.threadId,
  },
  ...[
    nextOf,
    (id: string) => id.toUpperCase(),
    (id: string) => `${id} `,
    (id: string) => `{${id}}`,
    (id: string) => id.replaceAll('-', ''),
    (id: string) => `urn:uuid:${id}`,
    (id: string) => `${id}' or '1'='1`,
    (id: string) => `../threads/${id}`,
    (id: string) => `${id}\0`,
    (id: string) => `${id}\u200b`,
    (id: string) => `${id},${id}`,
    () => "x' union select * from polyphony_threads --",
    () => '%',
    () => '*',
    () => '__proto__',
    () => 'null',
    () => '00000000-0000-0000-0000-000000000000',
  ].map((change) => changed(foreign, change)),
]

const NO_ROWS: ReadonlySet<string> = new Set()

export const changesBetween = (before: Dump, after: Dump): readonly string[] =>
  [...new Set([...before.keys(), ...after.keys()])].flatMap((table) => {
    const [was, is] = [before.get(table) ?? NO_ROWS, after.get(table) ?? NO_ROWS]
    if (was === is) return []
    return [
      ...[...was].filter((row) => !is.has(row)).map((row) => `${table} ${row}`),
      ...[...is].filter((row) => !was.has(row)).map((row) => `${table} ${row}`),
    ]
  })
