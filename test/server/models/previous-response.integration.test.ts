import { expect, test } from 'vitest'
import { toFlowMetadata } from '../../../src/server/models/responses/response-facts.ts'
import { createStoredResponses } from '../../../src/server/models/responses/stored-responses.ts'
import { runModelServer, TWO_STEPS, USER } from './model-server.ts'

/** A response whose process died between the end of its flow and the message that holds its answer. */
async function responseWithoutMessage() {
  const { polyphony } = await runModelServer(() => 'the answer')
  const { conversations, orchestrator } = polyphony
  const thread = await conversations.createThread(USER)
  await conversations.addMessage(thread.id, USER, { role: 'user', content: 'one' })
  const flow = await orchestrator.createFlow(thread.id, USER, TWO_STEPS)
  const metadata = toFlowMetadata({ model: 'flow/two steps', background: true, metadata: {} })
  await orchestrator.executeFlow(flow.id, USER, { input: 'one', metadata })
  const contents = async () => (await conversations.getMessages(thread.id, USER)).map(({ content }) => content)
  return { polyphony, contents, previous: { previousId: `resp_${flow.id}`, instructions: undefined, userId: USER } }
}

test('two processes that continue from one response at the same time add its answer to the thread once', async () => {
  const { polyphony, contents, previous } = await responseWithoutMessage()
  expect(await contents()).toEqual(['one'])
  const processes = [createStoredResponses(polyphony), createStoredResponses(polyphony)]
  await Promise.all(processes.map((stored) => stored.continueAfter(previous, async () => undefined)))
  expect(await contents()).toEqual(['one', 'the answer'])
})

test('an answer that is added after the conversation has continued changes nothing', async () => {
  const { polyphony, contents, previous } = await responseWithoutMessage()
  const { conversations } = polyphony
  // The first look at the thread is held up until another process has gone on from the response.
  let isHeld = true
  const late = createStoredResponses({
    ...polyphony,
    conversations: Object.assign(Object.create(conversations), {
      getMessages: async (threadId: string, userId: string) => {
        const messages = await conversations.getMessages(threadId, userId)
        if (isHeld) {
          isHeld = false
          await createStoredResponses(polyphony).continueAfter(previous, () =>
            conversations.addMessage(threadId, userId, { role: 'user', content: 'two' }),
          )
        }
        return messages
      },
      addMessage: conversations.addMessage.bind(conversations),
    }),
  })
  await late.continueAfter(previous, async () => undefined)
  expect(await contents()).toEqual(['one', 'the answer', 'two'])
})
