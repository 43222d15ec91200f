import { afterEach, expect, test } from 'vitest'
import { mcpServersSchema } from '../../src/config/operations/operation-settings.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import { createMcpProvider } from '../../src/providers/mcp/mcp-provider.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const origin: CallOrigin = { userId: 'ada', flowId: 'f', stepId: 's', idempotencyKey: 'f/s#1', metadata: {} }
const SERVER_FILE = new URL('./mcp-server.ts', import.meta.url).pathname
const PROCESS = { command: process.execPath, args: ['--import', 'tsx', SERVER_FILE, 'serve'] }

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

function open(settings: unknown): Provider {
  const parsed = mcpServersSchema.parse({ tools: settings }).tools
  if (!parsed) throw new Error('expected settings of a server')
  const provider = createMcpProvider('tools', parsed)
  closing.push(async () => provider.close?.())
  return provider
}

const call = (provider: Provider, model: string) =>
  provider.generate({ model, messages: [], settings: {}, arguments: {} }, { signal: new AbortController().signal, origin })

test('a process gets no variable that it is not given, is started again after it died, and ends with the provider', async () => {
  process.env.POLYPHONY_TEST_SECRET = 'secret'
  const provider = open({ ...PROCESS, env: { GIVEN: '1' } })
  const first = JSON.parse((await call(provider, 'pid')).text)
  expect(first.names).toContain('GIVEN')
  expect(first.names).not.toContain('POLYPHONY_TEST_SECRET')
  expect(await rejection(call(provider, 'die'))).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
  const second = JSON.parse((await call(provider, 'pid')).text)
  expect(second.pid).not.toBe(first.pid)
  await provider.close?.()
  await expect.poll(() => isAlive(second.pid), { timeout: 10_000 }).toBe(false)
}, 60_000)

test('a flow runs a tool of a configured process', async () => {
  const polyphony = await openTestPolyphony({ mcp: { tools: { ...PROCESS, price: 0.01 } } })
  closing.push(() => polyphony.close())
  const { id } = await polyphony.conversations.createThread('ada', {})
  const flow = await polyphony.orchestrator.createFlow(id, 'ada', {
    name: 'sum',
    type: 'sequential',
    steps: [{ id: 'sum', model: 'tools/sum', action: 'run', arguments: { numbers: [1, 2, 3] } }],
  })
  const { steps } = await polyphony.orchestrator.executeFlow(flow.id, 'ada', { input: 'x' })
  expect(steps[0]).toMatchObject({ parsed: { total: 6 }, cost: 0.01, provider: 'tools', model: 'sum' })
}, 60_000)

test('a program that does not exist is an error of its provider', async () => {
  const provider = open({ command: '/nonexistent/program' })
  expect(await rejection(call(provider, 'x'))).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
