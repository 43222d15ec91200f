import { getEventListeners } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const FLOWS = 60
const DEFINITION: FlowDefinitionInput = {
  name: 'one',
  type: 'sequential',
  steps: [{ id: 'a', model: 'scripted/m', action: 'generate', prompt: 'original' }],
}

async function open() {
  const scripted = createScriptedProvider({ replies: () => 'done' })
  const polyphony = await openTestPolyphony({ providers: { scripted } })
  onTestFinished(() => polyphony.close())
  const warnings: string[] = []
  const add = ({ name }: Error) => warnings.push(name)
  process.on('warning', add)
  onTestFinished(() => void process.off('warning', add))
  const { id } = await polyphony.conversations.createThread('ada')
  const flows = await Promise.all(Array.from({ length: FLOWS }, () => polyphony.orchestrator.createFlow(id, 'ada', DEFINITION)))
  return { ...polyphony, flows, warnings }
}

test('many flows under one signal leak no memory and leave no listener behind', async () => {
  const { orchestrator, flows, warnings } = await open()
  const { signal } = new AbortController()
  await Promise.all(flows.map(({ id }) => orchestrator.executeFlow(id, 'ada', { input: 'x', signal })))
  await new Promise((resolve) => setImmediate(resolve))
  expect(warnings).toEqual([])
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('many subscriptions under one signal leak no memory and end with it', async () => {
  const { orchestrator, flows, warnings } = await open()
  const controller = new AbortController()
  const follow = async (flowId: string) => {
    for await (const { type } of orchestrator.streamFlow(flowId, 'ada', { signal: controller.signal })) return type
    return 'ended'
  }
  const ends = flows.map(({ id }) => follow(id))
  while (getEventListeners(controller.signal, 'abort').length === 0) await new Promise((resolve) => setImmediate(resolve))
  controller.abort()
  expect(new Set(await Promise.all(ends))).toEqual(new Set(['ended']))
  expect(warnings).toEqual([])
  expect(getEventListeners(controller.signal, 'abort')).toEqual([])
})
