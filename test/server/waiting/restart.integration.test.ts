import { expect, test } from 'vitest'
import { openTestPostgres } from '../../support/postgres.ts'
import { decisionFlow, runPausedServer } from './paused-server.ts'

const signalPath = (flowId: string) => `/api/v1/flows/${flowId}/steps/ok/signal`

test('a decision after a restart lets the flow go on, and pays nothing again', async () => {
  const postgres = await openTestPostgres()
  try {
    const before = await runPausedServer({ database: postgres.url })
    const key = await before.keyOf('ada')
    const { flowId, end } = await before.pause('ada', decisionFlow())
    await Promise.all([end.catch(() => {}), before.close()])
    const after = await runPausedServer({ database: postgres.url })
    expect((await after.send('GET', '/api/v1/waiting', { key })).json).toMatchObject({ items: [{ flowId, path: 'ok' }] })
    expect((await after.send('POST', signalPath(flowId), { key, body: { approved: true } })).status).toBe(200)
    for await (const _ of after.polyphony.orchestrator.streamFlow(flowId, 'ada'));
    const flow = await after.polyphony.orchestrator.getFlow(flowId, 'ada')
    expect(flow).toMatchObject({ status: 'COMPLETED', stepResults: [{ output: 'text 1' }, { path: 'ok' }, { output: 'text 1' }] })
    expect(after.provider.requests).toHaveLength(1)
    await after.close()
  } finally {
    await postgres.drop()
  }
})

test('a decision at one server while the other one closes counts once, and the flow completes', async () => {
  const postgres = await openTestPostgres()
  try {
    const [first, second] = [await runPausedServer({ database: postgres.url }), await runPausedServer({ database: postgres.url })]
    const key = await first.keyOf('ada')
    const { flowId, end } = await first.pause('ada', decisionFlow())
    const [answer] = await Promise.all([
      second.send('POST', signalPath(flowId), { key, body: { approved: true } }),
      end.catch(() => {}),
      first.close(),
    ])
    expect(answer.status).toBe(200)
    for await (const _ of second.polyphony.orchestrator.streamFlow(flowId, 'ada'));
    expect((await second.polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('COMPLETED')
    expect(first.provider.requests.length + second.provider.requests.length).toBe(2)
    await second.close()
  } finally {
    await postgres.drop()
  }
})
