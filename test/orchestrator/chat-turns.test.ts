import { expect, test } from 'vitest'
import type { Message } from '../../src/domain/users/thread.ts'
import { toChatMessages } from '../../src/orchestrator/steps/chat-messages.ts'
import { scripted, USER } from '../support/scripted-flow.ts'

const message = (letter: string, content: string): Message => ({
  id: content,
  threadId: 't',
  role: letter === 'a' ? 'assistant' : letter === 's' ? 'system' : 'user',
  content,
  metadata: {},
  createdAt: new Date(0),
})

test.each(['', 'u', 'a', 'uu', 'aa', 'uua', 'uaa', 'auu', 'suas', 'aua', 'uuuaaauuu'])(
  'a conversation %j becomes alternating messages that begin and end with the user, without losing text',
  (letters) => {
    const history = [...letters].map((letter, index) => message(letter, `${letter}${index}`))
    const turns = toChatMessages(history, 'the prompt')
    expect(turns.map(({ role }) => role)).toEqual(turns.map((_, index) => (index % 2 ? 'assistant' : 'user')))
    expect(turns.at(-1)?.role).toBe('user')
    const text = turns.map(({ content }) => content).join('\n\n')
    const kept = history.filter(({ role }) => role !== 'system').map(({ content }) => content)
    expect(text.split('\n\n').filter((part) => !part.startsWith('('))).toEqual([...kept, 'the prompt'])
  },
)

test('a blank message of a conversation is left out', () => {
  expect(toChatMessages([message('u', 'hello'), message('a', ' \ufeff')], 'again')).toEqual([
    { role: 'user', content: 'hello\n\nagain' },
  ])
})

const plain = (more: object = {}) => ({
  name: 'plain',
  type: 'sequential' as const,
  contextPolicy: { shareConversationHistory: true, preserveSystemPrompts: true, ...more },
  steps: [{ id: 'a', model: 'scripted/m', action: 'generate' as const, prompt: 'original' }],
})

async function chat(
  messages: readonly { role: 'user' | 'assistant' | 'system'; content: string }[],
  more: object = {},
  options = {},
) {
  const flow = await scripted(['ok'])
  const { conversations, dataSharing } = flow.polyphony
  await dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
  await conversations.addMessages(flow.threadId, USER, messages)
  const result = await flow.run(plain(more), options)
  await flow.polyphony.close()
  return { result, request: flow.provider.requests[0], updates: flow.updates }
}

test('a system message reaches the model however long the chat is, and every cut is a decision and an update', async () => {
  const turns = Array.from({ length: 210 }, (_, index) => ({
    role: index % 2 ? ('assistant' as const) : ('user' as const),
    content: `turn ${index}`,
  }))
  const { result, request, updates } = await chat([{ role: 'system', content: 'RULE' }, ...turns])
  expect(request?.system).toBe('RULE')
  expect(result.steps[0]?.withheld).toMatchObject([{ rule: 'newestMessages' }])
  expect(updates.some(({ type, data }) => type === 'context_withheld' && 'rule' in data && data.rule === 'newestMessages')).toBe(
    true,
  )
})

test('maxSharedTokens cuts messages but no system message', async () => {
  const long = 'word '.repeat(400)
  const { request, result } = await chat(
    [
      { role: 'system', content: 'RULE ONE' },
      { role: 'user', content: long },
      { role: 'system', content: 'RULE TWO' },
      { role: 'assistant', content: `${long}the end` },
    ],
    { maxSharedTokens: 50 },
  )
  expect(request?.system).toBe('RULE ONE\n\nRULE TWO')
  expect(result.steps[0]?.withheld.length).toBeGreaterThan(0)
})

test('a chat that ends with the assistant keeps its order', async () => {
  const turns = [
    { role: 'user' as const, content: 'first' },
    { role: 'assistant' as const, content: 'answer' },
    { role: 'user' as const, content: 'second' },
    { role: 'assistant' as const, content: 'so far' },
  ]
  const { request } = await chat(turns, {}, { input: undefined })
  expect(request?.messages.map(({ content }) => content)).toEqual(['first', 'answer', 'second', 'so far', 'second'])
})
