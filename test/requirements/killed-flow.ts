import { createPolyphony, createScriptedProvider, type FlowDefinitionInput } from 'polyphony'

/** A flow of two steps; the second never ends in the process that is killed. */
export const INTERRUPTED_FLOW: FlowDefinitionInput = {
  name: 'interrupted',
  type: 'sequential',
  steps: [
    { id: 'paid', model: 'alpha/m', action: 'generate', prompt: 'first' },
    { id: 'cut', model: 'alpha/m', action: 'generate', prompt: 'after {{ previous }}' },
  ],
}

/** `<database url>`: runs the flow until it is killed, and tells its id and thread once the first step is paid and the second under way. */
const [, script = '', database] = process.argv
if (database !== undefined && script.endsWith('killed-flow.ts')) {
  let told: string | undefined
  const alpha = createScriptedProvider({
    id: 'alpha',
    replies: (_, index) => {
      if (index === 0) return 'paid once'
      process.stdout.write(`${told}\n`)
      return { text: '', hang: true }
    },
  })
  const { conversations, orchestrator } = await createPolyphony(
    { database, providers: { alpha } },
    { env: {}, cwd: '/nonexistent' },
  )
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', INTERRUPTED_FLOW)
  told = JSON.stringify({ flowId: flow.id, threadId: thread.id, pid: process.pid })
  setInterval(() => undefined, 1_000)
  await orchestrator.executeFlow(flow.id, 'ada', { input: 'the question' })
}
