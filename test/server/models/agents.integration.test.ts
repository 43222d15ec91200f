import { expect, test } from 'vitest'
import { HAS_CLIENTS, runWithClients } from '../../support/clients.ts'
import { calling, toolAnswers } from '../../support/tool-world.ts'
import { runModelServer, USER } from './model-server.ts'

const SCHEMA = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] }

test.skipIf(!HAS_CLIENTS)(
  'agents of OpenAI Agents have a flow as their model, and give it the results of their tools',
  async () => {
    const server = await runModelServer((request) => {
      if (request.outputSchema) return '{"answer":"42"}'
      const [result] = toolAnswers(request)
      if (request.tools && result === undefined) return calling(['look', {}])
      return request.tools ? `I see ${result}.` : { chunks: ['one ', 'two'] }
    })
    const step = { id: 'answer', model: 'scripted/m', action: 'generate', prompt: 'original' } as const
    await server.save({ name: 'prose', type: 'sequential', steps: [step] })
    await server.save({ name: 'tools', type: 'sequential', steps: [{ ...step, id: 'draft' }, step] })
    await server.save({ name: 'typed', type: 'sequential', steps: [{ ...step, outputSchema: SCHEMA }] })
    const words = [`${server.url}/v1`, await server.keyOf(USER)]
    const seen = {
      answer: 'one two',
      text: 'one two',
      object: { answer: '42' },
      withTools: 'I see sky.',
      lookedText: 'I see sky.',
    }
    // Of Chat Completions and of the Responses API.
    expect(await runWithClients('test/server/models/agents-program.mjs', { words })).toEqual([seen, seen])
    // No step and no turn is repeated: three requests for every run with a tool.
    expect(server.provider.requests).toHaveLength(6 + 4 * 3)
  },
)
