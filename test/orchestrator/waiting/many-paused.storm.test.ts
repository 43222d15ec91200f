import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { inParallel } from '../../faults/observation.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { casesOf } from '../../support/scale.ts'
import { USER } from '../../support/scripted-flow.ts'
import { approve, generate } from './waiting-flows.ts'

const SLEEPING = casesOf(10_000, 300)
const WAITING = casesOf(1_000, 50)
const WIDTH = 100

/** They wake long after all of them sleep, whatever the machine does meanwhile. */
const until = new Date(Date.now() + 86_400_000).toISOString()
const sleeper = { name: 'sleeper', type: 'sequential', steps: [generate('draft'), { id: 'nap', action: 'wait', until }] } as const
const waiter = { name: 'waiter', type: 'sequential', steps: [generate('draft'), approve('ok'), generate('publish')] } as const

test.each([
  ['local', {}],
  ['bullmq', { engine: 'bullmq', bullmq: { queue: `polyphony-test-${randomBytes(6).toString('hex')}` } }],
] as const)(
  '%s: thousands of sleeping and waiting flows survive a restart of everything: none is lost, none runs twice',
  {
    timeout: 600_000,
  },
  async (_, engine) => {
    const { url, drop } = await openTestPostgres()
    const provider = createScriptedProvider({ replies: () => 'a reply' })
    const open = () => openTestPolyphony({ database: url, providers: { scripted: provider }, ...engine })

    const before = await open()
    const { id: threadId } = await before.conversations.createThread(USER, {})
    const flowIds: string[] = []
    await inParallel(
      Array.from({ length: SLEEPING + WAITING }).map((_, number) => number),
      WIDTH,
      async (number) => {
        const { orchestrator } = before
        const flow = await orchestrator.createFlow(threadId, USER, number < SLEEPING ? sleeper : waiter)
        flowIds[number] = flow.id
        await orchestrator.startFlow(flow.id, USER, { input: 'q' })
        for await (const update of orchestrator.streamFlow(flow.id, USER)) if (update.type === 'flow_paused') break
      },
    )
    await before.close()
    expect(provider.requests).toHaveLength(SLEEPING + WAITING)

    // Two processes share the work afterwards.
    const [one, two] = await Promise.all([open(), open()])
    await Promise.all([one.resumeInterrupted(), two.resumeInterrupted()])
    const rows: { readonly flowId: string; readonly kind: string; readonly hash: string; readonly path: string }[] = []
    for (let cursor: string | undefined; ; ) {
      const page = await one.orchestrator.listWaitingPage(USER, { limit: 1_000, ...(cursor !== undefined && { cursor }) })
      rows.push(...page.waiting)
      cursor = page.nextCursor
      if (cursor === undefined) break
    }
    expect(new Set(rows.map(({ flowId }) => flowId)).size).toBe(SLEEPING + WAITING)
    expect(rows.filter(({ kind }) => kind === 'approve')).toHaveLength(WAITING)

    const decisions = rows.filter(({ kind }) => kind === 'approve')
    await inParallel(decisions, WIDTH, async ({ flowId, path, hash }) => {
      const outcomes = await Promise.allSettled(
        [one, two].map(({ orchestrator }) => orchestrator.signal(flowId, USER, path, { approved: true, hash })),
      )
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for await (const _ of one.orchestrator.streamFlow(flowId, USER));
      const flow = await one.orchestrator.getFlow(flowId, USER)
      expect(flow).toMatchObject({ status: 'COMPLETED' })
      expect(flow.stepResults.map(({ stepId, status }) => `${stepId} ${status}`)).toEqual([
        'draft SUCCESS',
        'ok SUCCESS',
        'publish SUCCESS',
      ])
    })
    expect(provider.requests).toHaveLength(SLEEPING + 2 * WAITING)
    const left = await two.orchestrator.listWaitingPage(USER, { limit: 1_000 })
    expect(left.waiting.every(({ kind }) => kind === 'wait')).toBe(true)
    const states = await Promise.all(flowIds.slice(0, 20).map((flowId) => two.orchestrator.getFlowStatus(flowId)))
    expect(states.map(({ status }) => status)).toEqual(states.map(() => 'PAUSED'))
    await Promise.all([one.close(), two.close()])
    await drop()
  },
)
