import { getEventListeners } from 'node:events'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { onAbort } from '../../src/async/on-abort.ts'
import { rejection } from '../support/caught.ts'
import { answers, createQuickClient, createScriptedServer, type ScriptedServer } from './scripted-server.ts'

const CALLS = 2_000

let server: ScriptedServer
beforeAll(async () => {
  server = await createScriptedServer()
})
afterAll(() => server.close())

/** Names of the warnings that Node emits during the test. */
function watchWarnings(): readonly string[] {
  const names: string[] = []
  const add = ({ name }: Error) => names.push(name)
  process.on('warning', add)
  onTestFinished(() => void process.off('warning', add))
  return names
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('two thousand calls with one signal, or without any, leak nothing and leave no listener behind', async () => {
  let started = 0
  let answer = () => {}
  const asked = new Promise<void>((resolve) => {
    answer = resolve
  })
  const fetch = async () => {
    started++
    await asked
    return Response.json({ userId: 'ada', scopes: [], via: 'key' })
  }
  const { client } = createQuickClient(server, { fetch })
  const { signal } = new AbortController()
  const warnings = watchWarnings()
  const calls = Array.from({ length: CALLS }, (_, index) => client.me.get(index % 2 === 0 ? { signal } : {}))
  while (started < CALLS) await turn()
  expect(getEventListeners(signal, 'abort')).toHaveLength(1)
  answer()
  await Promise.all(calls)
  await turn()
  expect(warnings).toEqual([])
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('a signal that many calls share aborts all of them with its reason', async () => {
  server.play(answers.hang())
  const { client } = createQuickClient(server)
  const controller = new AbortController()
  const calls = Array.from({ length: 20 }, () => rejection(client.me.get({ signal: controller.signal })))
  while (server.requests.length < 20) await turn()
  const reason = new Error('enough')
  controller.abort(reason)
  expect(await Promise.all(calls)).toEqual(calls.map(() => reason))
  expect(getEventListeners(controller.signal, 'abort')).toEqual([])
})

test('a removed listener is not called, a kept one is called once, and a removed one can be added again', () => {
  const controller = new AbortController()
  const called: string[] = []
  const leave = onAbort(controller.signal, () => called.push('left'))
  leave()
  leave()
  expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  const listener = () => called.push('stayed')
  onAbort(controller.signal, listener)
  const leaveTwin = onAbort(controller.signal, listener)
  leaveTwin()
  // A listener that another listener removes during the abort is not called.
  onAbort(controller.signal, () => leaveLast())
  const leaveLast = onAbort(controller.signal, () => called.push('last'))
  controller.abort()
  expect(called).toEqual(['stayed'])
})
