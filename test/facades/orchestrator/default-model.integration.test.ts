import { Agent } from 'polyphony'
import { expect, test } from 'vitest'
import { openOrchestrator } from '../../support/orchestrators.ts'

const workflow = { id: 'w', steps: [{ id: 's', type: 'execution' }] }
const plain = { id: 'coder', name: 'Coder', instructions: 'You write code.' }

test.each([
  [['mistral', 'xai'], 'grok-4.5'],
  [['deepseek', 'mistral'], 'mistral-large-2512'],
  [['deepseek'], 'deepseek-chat'],
])('with accounts of %j alone, steps and agents without a model go to %s', async (vendors, model) => {
  const providers = Object.fromEntries(vendors.map((id) => [id, (request: { readonly model: string }) => request.model]))
  const orchestrator = await openOrchestrator(providers)
  expect((await orchestrator.executeWorkflow(workflow)).results).toEqual({ s: model })
  await orchestrator.registerAgent(new Agent(plain))
  expect((await orchestrator.executeWorkflow(workflow)).results).toEqual({ s: model })
})

test('without a default model an agent names its own, and the refusal says so', async () => {
  const orchestrator = await openOrchestrator({ groq: ({ model }) => model })
  const message = expect.stringMatching(/^Agent "coder": .*\(configured: .*groq.*\): set OPENAI_API_KEY.*"provider\/model"$/)
  await expect(orchestrator.registerAgent(new Agent(plain))).rejects.toMatchObject({ code: 'CONFIG_INVALID', message })
  await orchestrator.registerAgent(new Agent({ ...plain, model: 'groq/llama' }))
  expect((await orchestrator.executeWorkflow(workflow)).results).toEqual({ s: 'llama' })
})
