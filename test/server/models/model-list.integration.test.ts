import { NotFoundError } from 'openai'
import { expect, test } from 'vitest'
import { listFlowTemplates } from '../../../templates/index.ts'
import { rejection } from '../../support/caught.ts'
import { runModelServer, TWO_STEPS, USER } from './model-server.ts'

const say = (model: string) => ({ model, messages: [{ role: 'user' as const, content: 'hi' }] })

test('templates and the flows that the caller created are listed as models, each name once', async () => {
  const { openai, save } = await runModelServer([])
  await save(TWO_STEPS)
  await save(TWO_STEPS)
  await save({ ...TWO_STEPS, name: 'critique' })
  const ids: string[] = []
  for await (const { id } of openai.models.list()) ids.push(id)
  expect(ids.toSorted()).toEqual(
    [...listFlowTemplates().map(({ name }) => name), 'two steps'].map((name) => `flow/${name}`).toSorted(),
  )
})

test('a model is described under its name, encoded or not', async () => {
  const { openai, url, save, keyOf } = await runModelServer([])
  await save({ ...TWO_STEPS, name: 'a/b c' })
  expect(await openai.models.retrieve('flow/critique')).toMatchObject({
    id: 'flow/critique',
    object: 'model',
    owned_by: 'polyphony',
  })
  const headers = { authorization: `Bearer ${await keyOf(USER)}` }
  for (const path of ['flow/a/b%20c', 'flow%2Fa%2Fb%20c']) {
    const answer = await (await fetch(`${url}/v1/models/${path}`, { headers })).json()
    expect(answer).toMatchObject({ id: 'flow/a/b c', object: 'model', owned_by: 'user', created: expect.any(Number) })
  }
})

test('a name means the newest flow of that name, and a template before any flow', async () => {
  const { openai, save, provider } = await runModelServer(['old', 'new', 'template'])
  const one = (prompt: string) => ({
    ...TWO_STEPS,
    steps: [{ id: 'a', model: 'scripted/m', action: 'generate' as const, prompt }],
  })
  const oldId = await save(one('do the old thing'))
  await save(one('do the new thing'))
  await openai.chat.completions.create(say(`flow/${oldId}`))
  await openai.chat.completions.create(say('flow/two steps'))
  expect(provider.requests.map(({ messages }) => messages[0]?.content)).toEqual([
    expect.stringContaining('do the old thing'),
    expect.stringContaining('do the new thing'),
  ])
  await save({ ...one('not a template'), name: 'critique' })
  expect(await rejection(openai.chat.completions.create(say('flow/critique')))).toMatchObject({ code: 'provider_not_configured' })
})

test('a flow of another user is not a model: its name, its id and an unknown id get the same answer', async () => {
  const { openai, save, clientOf, polyphony } = await runModelServer([])
  const flowId = await save(TWO_STEPS, 'user-2')
  const unknown = '01a1f7c2-86a1-7975-be65-cfecbd1640a7'
  const other = await clientOf('user-2')
  expect((await other.models.list()).data.map(({ id }) => id)).toContain('flow/two steps')
  expect((await openai.models.list()).data.map(({ id }) => id)).not.toContain('flow/two steps')
  for (const name of ['two steps', flowId, unknown]) {
    const model = `flow/${name}`
    for (const error of [
      await rejection(openai.models.retrieve(model)),
      await rejection(openai.chat.completions.create(say(model))),
    ]) {
      expect(error).toBeInstanceOf(NotFoundError)
      expect(error).toMatchObject({ status: 404, code: 'model_not_found', type: 'invalid_request_error', param: 'model' })
      expect(String(error).replaceAll(name, '…')).toContain(
        "404 The model 'flow/…' does not exist or you do not have access to it.",
      )
    }
  }
  expect(await polyphony.conversations.listThreads(USER)).toEqual([])
})

test.each(['critique', 'flow/', 'gpt-5.4', `flow/${'x'.repeat(300)}`, 'flow'])('"%s" is not a model', async (model) => {
  const { openai } = await runModelServer([])
  expect(await rejection(openai.chat.completions.create(say(model)))).toBeInstanceOf(NotFoundError)
})

test('a flow that the caller may read runs under its id, in a thread of the caller', async () => {
  const { openai, save, polyphony } = await runModelServer(['draft', 'the answer'])
  const flowId = await save(TWO_STEPS, 'user-2')
  const { threadId } = await polyphony.orchestrator.getFlow(flowId, 'user-2')
  await polyphony.permissions.grant(threadId, 'user-2', USER, ['read'])
  const completion = await openai.chat.completions.create(say(`flow/${flowId}`))
  expect(completion.choices[0]?.message.content).toBe('the answer')
  expect(await polyphony.conversations.listThreads(USER)).toHaveLength(1)
  expect(await polyphony.orchestrator.listFlows(threadId, 'user-2')).toHaveLength(1)
})
