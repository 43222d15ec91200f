import { afterAll, beforeAll } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { type RunningServer, runServer } from '../running-server.ts'
import { DEFINITION, type KnownIds } from './valid-requests.ts'

/** Errors of this process that nobody handled, while the tests of a file run. */
export function watchForCrashes(): readonly unknown[] {
  const crashes: unknown[] = []
  const onCrash = (error: unknown) => crashes.push(error)
  beforeAll(() => {
    process.on('uncaughtException', onCrash)
    process.on('unhandledRejection', onCrash)
  })
  afterAll(() => {
    process.off('uncaughtException', onCrash)
    process.off('unhandledRejection', onCrash)
  })
  return crashes
}

export interface StormServer extends RunningServer {
  readonly key: string
  readonly ids: KnownIds
}

/** A server with a user who has a thread, a flow that has ended and one that fails whenever it runs. */
export async function runStormServer(config: PolyphonyConfigInput = {}): Promise<StormServer> {
  const scripted = createScriptedProvider({ replies: ({ model }) => (model === 'fails' ? new Error('refused') : 'words') })
  const running = await runServer({
    simulator: false,
    providers: { scripted },
    ...config,
    server: { requestsPerMinute: 10_000_000, maxWaitMs: 50, ...config.server },
  })
  const { conversations, orchestrator } = running.polyphony
  const key = await running.keyOf('ada', ['read', 'write', 'execute', 'share', 'metrics'])
  const create = async () => {
    const { id: threadId } = await conversations.createThread('ada', { title: 'a title' })
    const { id: flowId } = await orchestrator.createFlow(threadId, 'ada', DEFINITION)
    await orchestrator.executeFlow(flowId, 'ada', { input: 'hello' })
    return { threadId, flowId }
  }
  const [known, doomed] = [await create(), await create()]
  const failing = {
    ...DEFINITION,
    name: 'a failing flow',
    steps: [{ id: 'draft', action: 'generate' as const, provider: 'scripted', model: 'fails', prompt: 'original' }],
  }
  const { id: failingFlowId } = await orchestrator.createFlow(known.threadId, 'ada', failing)
  return { ...running, key, ids: { ...known, stepId: 'draft', failingFlowId, doomed } }
}

/** Sends as a client does who is in no way special. */
export async function isHealthy({ send, key }: StormServer): Promise<boolean> {
  const thread = await send('POST', '/api/v1/threads', { key, body: { title: 'after the storm' } })
  const flow = await send('POST', '/api/v1/flows', { key, body: { threadId: thread.json.id, definition: DEFINITION } })
  const ended = await send('POST', `/api/v1/flows/${flow.json.id}/execute`, { key, body: { input: 'hello' } })
  const events = await send('GET', `/api/v1/flows/${flow.json.id}/updates`, { key })
  return ended.status < 300 && events.text.includes('"status":"COMPLETED"') && (await send('GET', '/readyz')).status === 200
}
