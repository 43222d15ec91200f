// What outlives a run and a process (REQUIREMENTS S4-21, S4-130 to S4-136, SPEC sections 7 and 8).
//
// S4-21: saveMessages writes every step as a message of the thread
// S4-133: flows, results, updates and messages survive a restart
// S4-134: saveMessages writes every step as a message of the thread
// S4-135: saveMessages writes every step as a message of the thread
// S4-136: saveMessages writes every step as a message of the thread
// S4-T3: a flow with functions is FLOW_NOT_REBUILDABLE after a restart until it is registered

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createScriptedProvider, type FlowDefinitionInput, type FlowUpdate, type Polyphony } from 'polyphony'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { chain } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { INTERRUPTED_FLOW } from './killed-flow.ts'
import { describeOnEveryDatabase } from './services.ts'

describeOnEveryDatabase('messages', (services) => {
  test('saveMessages writes every step as a message of the thread', async () => {
    const model = services.model(['one', 'two', 'three'])
    const whose = await services.person()
    const { conversations } = services.polyphony
    await conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content: 'question' })
    const { result, flow } = await services.run(chain(model.step('a'), model.step('b')), { saveMessages: true }, whose)
    const messages = await conversations.getMessages(whose.threadId, whose.userId)
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'question'],
      ['assistant', 'one'],
      ['assistant', 'two'],
    ])
    expect(messages.slice(1).map(({ metadata }) => metadata.orchestrationFlowId)).toEqual([flow.id, flow.id])
    const { stepResults } = await services.polyphony.orchestrator.getFlow(flow.id, whose.userId)
    expect(stepResults.map(({ messageId }) => messageId)).toEqual(messages.slice(1).map(({ id }) => id))
    expect(result.steps.map(({ messageId }) => messageId)).toEqual(messages.slice(1).map(({ id }) => id))
    for (const { createdAt } of messages) expect(createdAt).toBeInstanceOf(Date)
    await services.run(chain(model.step('a')), {}, whose)
    expect(await conversations.getMessages(whose.threadId, whose.userId)).toHaveLength(3)
  })
})

const USER = 'ada'

interface Place {
  readonly url: string
  remove(): Promise<void>
}

const PLACES: Record<string, () => Promise<Place>> = {
  pglite: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'polyphony-requirements-'))
    return { url: `pglite://${join(folder, 'data')}`, remove: () => rm(folder, { recursive: true, force: true }) }
  },
  postgres: async () => {
    const { url, drop } = await openTestPostgres()
    return { url, remove: drop }
  },
}

describe.each(Object.keys(PLACES))('a restart on %s', (kind) => {
  let place: Place
  let open: Polyphony | undefined
  beforeEach(async () => {
    const find = PLACES[kind]
    if (!find) throw new Error(`unknown place ${kind}`)
    place = await find()
  })
  afterEach(async () => {
    await open?.close()
    open = undefined
    await place.remove()
  })

  async function start(...replies: string[]) {
    await open?.close()
    const alpha = createScriptedProvider({ id: 'alpha', replies })
    open = await openTestPolyphony({ database: place.url, providers: { alpha } })
    return { ...open, alpha }
  }
  const write = (id: string, prompt: FlowDefinitionInput['steps'][number]['prompt']) =>
    ({ id, model: 'alpha/m', action: 'generate', prompt }) as const

  test('flows, results, updates and messages survive a restart', async () => {
    const before = await start('one', 'two')
    const thread = await before.conversations.createThread(USER, { title: 'kept' })
    const flow = await before.orchestrator.createFlow(thread.id, USER, chain(write('a', 'x'), write('b', '{{ previous }}')))
    const waiting = await before.orchestrator.createFlow(thread.id, USER, { ...chain(write('a', 'original')), name: 'waiting' })
    const live: FlowUpdate[] = []
    const onUpdate = (update: FlowUpdate) => live.push(update)
    const result = await before.orchestrator.executeFlow(flow.id, USER, { input: 'x', saveMessages: true, onUpdate })
    const stored = await before.orchestrator.getFlow(flow.id, USER)
    const status = await before.orchestrator.getFlowStatus(flow.id, USER)
    await before.dataSharing.set(USER, 'alpha', { allowAttachments: true })

    const after = await start('late answer')
    const found = await after.orchestrator.getFlow(flow.id, USER)
    expect(found).toEqual(stored)
    expect(found.result).toMatchObject({ finalOutput: result.finalOutput, totalTokens: result.totalTokens })
    expect(await after.orchestrator.getFlowStatus(flow.id, USER)).toEqual(status)
    for (const time of [found.createdAt, found.startedAt, found.completedAt]) expect(time).toBeInstanceOf(Date)
    expect(found.stepResults[0]?.attempts[0]?.startedAt).toBeInstanceOf(Date)
    expect(await after.conversations.getMessages(thread.id, USER)).toHaveLength(2)
    expect(await after.dataSharing.get(USER, 'alpha')).toMatchObject({ allowAttachments: true })
    const updates: FlowUpdate[] = []
    for await (const update of after.orchestrator.streamFlow(flow.id, USER)) updates.push(update)
    expect(updates.map(({ seq, type }) => [seq, type])).toEqual(live.map(({ seq, type }) => [seq, type]))
    expect(await after.orchestrator.executeFlow(waiting.id, USER, { input: 'now' })).toMatchObject({ finalOutput: 'late answer' })
    expect((await after.orchestrator.listFlows(thread.id, USER)).map(({ name }) => name)).toEqual(['waiting', 'chain'])
  })

  test('a flow with functions is FLOW_NOT_REBUILDABLE after a restart until it is registered', async () => {
    const coded: FlowDefinitionInput = { ...chain(write('a', () => 'from code')), name: 'coded', version: '2' }
    const before = await start()
    const thread = await before.conversations.createThread(USER)
    const flow = await before.orchestrator.createFlow(thread.id, USER, coded)
    const after = await start('done')
    expect(await after.orchestrator.getFlow(flow.id, USER)).toMatchObject({ name: 'coded', status: 'PENDING' })
    const error = await rejection(after.orchestrator.executeFlow(flow.id, USER, { input: 'x' }))
    expect(error).toMatchObject({ code: 'FLOW_NOT_REBUILDABLE' })
    expect(after.alpha.requests).toHaveLength(0)
    await after.orchestrator.registerFlow({ ...coded, version: '1' })
    expect(await rejection(after.orchestrator.executeFlow(flow.id, USER, { input: 'x' }))).toMatchObject({
      code: 'FLOW_NOT_REBUILDABLE',
    })
    await after.orchestrator.registerFlow(coded)
    expect(await after.orchestrator.executeFlow(flow.id, USER, { input: 'x' })).toMatchObject({ finalOutput: 'done' })
    expect(JSON.stringify(after.alpha.requests)).toContain('from code')
  })

  test('the flow of a killed process is marked interrupted and resumes without paying again', {
    timeout: 300_000,
  }, async () => {
    const { flowId, threadId } = await runUntilKilled(place.url)
    const after = await start('second answer')
    const status = await after.orchestrator.getFlowStatus(flowId, USER)
    expect(status).toMatchObject({ status: 'FAILED', completedSteps: 1, error: { code: 'FLOW_INTERRUPTED' } })
    expect(status.progress).toBe(50)
    expect(await after.orchestrator.listFlows(threadId, USER, { status: 'FAILED' })).toHaveLength(1)
    const result = await after.orchestrator.executeFlow(flowId, USER)
    expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'second answer' })
    expect(after.alpha.requests.map(({ messages }) => messages.at(-1)?.content.includes('paid once'))).toEqual([true])
    expect(result.steps.map(({ stepId, status }) => [stepId, status])).toEqual(
      INTERRUPTED_FLOW.steps.map(({ id }) => [id, 'SUCCESS']),
    )
    expect(await after.orchestrator.getFlowStatus(flowId)).toMatchObject({ status: 'COMPLETED', progress: 100 })
  })
})

test('a second process on an embedded directory is refused with the name of the first', async () => {
  const place = await PLACES.pglite?.()
  const database = place?.url ?? ''
  const first = await openTestPolyphony({ database })
  const second = openTestPolyphony({ database })
  await expect(second).rejects.toMatchObject({ code: 'DATABASE_LOCKED', details: { pid: process.pid } })
  await first.close()
  await first.close()
  await place?.remove()
})

/** Runs the flow in a process of its own, which gets kill -9 in the middle of the second step. */
async function runUntilKilled(url: string): Promise<{ readonly flowId: string; readonly threadId: string }> {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const script = fileURLToPath(new URL('./killed-flow.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', loader, script, url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const told = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data) => resolve(String(data)))
    child.once('exit', (code) => reject(new Error(`The child ended with ${code} before it could be killed`)))
  })
  child.kill('SIGKILL')
  await exited
  return JSON.parse(told)
}
