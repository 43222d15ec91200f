import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { createReceiver, SECRET } from './receiver.ts'

const DEFINITION = {
  name: 'answer',
  type: 'sequential',
  steps: [{ id: 'answer', model: 'scripted/model', action: 'generate', prompt: 'original' }],
} as const

async function setUp(config: (url: string) => PolyphonyConfigInput) {
  const receiver = await createReceiver()
  const scripted = createScriptedProvider({ replies: () => 'the secret answer' })
  const polyphony = await openTestPolyphony({ providers: { scripted }, ...config(receiver.url) })
  onTestFinished(async () => {
    await polyphony.close()
    await receiver.close()
  })
  const { id: threadId } = await polyphony.conversations.createThread('ada', {})
  const run = async () => {
    const flow = await polyphony.orchestrator.createFlow(threadId, 'ada', DEFINITION)
    await polyphony.orchestrator.executeFlow(flow.id, 'ada', { input: 'the secret question' })
    return flow.id
  }
  return { receiver, polyphony, threadId, run }
}

test.each(['memory://', 'pglite://memory'])(
  'the end of a flow in %s is announced with ids and totals, without its texts',
  async (database) => {
    const { receiver, threadId, run } = await setUp((url) => ({
      database,
      webhooks: [{ url, events: ['flow_complete', 'error'], secret: SECRET }],
    }))
    const flowId = await run()
    await receiver.arrived(1)
    const facts = { status: 'COMPLETED', simulated: false, seq: expect.any(Number), totalTokens: expect.any(Number) }
    expect(receiver.verify(0, SECRET)).toMatchObject({
      type: 'flow_complete',
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
      data: { flowId, threadId, userId: 'ada', flowName: 'answer', ...facts },
    })
    expect(receiver.received[0]?.id).toMatch(new RegExp(`^msg_${flowId.replaceAll('-', '')}_\\d+$`))
    expect(receiver.received[0]?.request.text).not.toContain('secret')
    expect(receiver.received).toHaveLength(1)
  },
)

test('every update type is announced where it is asked for, each once and with a number of its own', async () => {
  const events = ['flow_start', 'step_start', 'step_complete', 'flow_complete'] as const
  const { receiver, run } = await setUp((url) => ({ webhooks: [{ url, events: [...events], secret: SECRET }] }))
  await run()
  await receiver.arrived(events.length)
  const types = receiver.received.map((_, index) => Reflect.get(Object(receiver.verify(index, SECRET)), 'type'))
  expect(types.sort()).toEqual([...events].sort())
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(events.length)
  expect(receiver.received.map(({ request }) => request.text).join()).not.toContain('the secret')
})

test('a webhook without a secret gets one that is shown and verifies its messages', async () => {
  const { receiver, polyphony, run } = await setUp((url) => ({ webhooks: [{ url, events: ['flow_complete'] }] }))
  const [webhook] = await polyphony.webhooks.list()
  expect(webhook).toMatchObject({ url: receiver.url, events: ['flow_complete'], queued: 0, failed: 0 })
  expect(Buffer.from(webhook?.secret.replace('whsec_', '') ?? '', 'base64')).toHaveLength(32)
  await run()
  await receiver.arrived(1)
  expect(receiver.verify(0, webhook?.secret ?? '')).toMatchObject({ type: 'flow_complete' })
})

test('closing waits for the message of a flow that has just ended', async () => {
  const { receiver, polyphony, run } = await setUp((url) => ({ webhooks: [{ url, events: ['flow_complete'] }] }))
  await run()
  await polyphony.close()
  expect(receiver.received).toHaveLength(1)
})

test.each([
  [
    { webhooks: [{ url: 'ftp://a.example/secret-path', events: ['error'] }] },
    'webhooks.0.url',
    'expected an http:// or https:// URL',
  ],
  [{ webhooks: [{ url: 'https://a.example', events: ['flow_end'] }] }, 'webhooks.0.events.0', 'expected'],
  [{ webhooks: [{ url: 'https://a.example', events: ['error'], secret: 'whsec_short' }] }, 'webhooks.0.secret', '24 to 64 bytes'],
  [{ schedules: [{ flow: 'critique' }] }, 'schedules.0.cron', 'expected either cron or every'],
  [{ schedules: [{ flow: 'critique', cron: '61 * * * *' }] }, 'schedules.0.cron', 'expected a cron expression'],
  [{ schedules: [{ flow: 'critique', cron: '@daily', timezone: 'Mars' }] }, 'schedules.0.timezone', 'time zone'],
  [{ schedules: [{ flow: 'critique', every: '10ms' }] }, 'schedules.0.every', 'from 1s to 366d'],
  [{ schedules: [{ flow: 'a', cron: '@daily', inputs: {} }] }, 'schedules.0.inputs', 'expected a known key'],
])('an invalid setting is named by its path: %j', async (config, key, expected) => {
  const error: unknown = await openTestPolyphony(JSON.parse(JSON.stringify(config))).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { problems: [{ key }] } })
  expect(String(error)).toContain(expected)
  expect(String(error)).not.toContain('secret-path')
})
