import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import type { Journal, Store } from '../../../src/repositories/repository.ts'
import { step, until } from '../../support/flows.ts'
import { openMortalProcess } from '../../support/mortal-process.ts'
import { USER } from '../../support/scripted-flow.ts'
import { approve } from './waiting-flows.ts'

const definition: FlowDefinitionInput = {
  name: 'pauses late',
  type: 'graph',
  steps: [step('slow'), approve('ok', { show: 'the text' }), step('publish', { dependsOn: ['ok'] })],
}

function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = () => resolve()
  })
  return { opened, open: () => open() }
}

/** What happens with the decisions that come while a flow's pause is being written, on every store. */
export function describePauseWrite(
  openStore: () => Promise<{ readonly store: Store; readonly close: () => Promise<unknown> }>,
): void {
  describe('while a pause is being written', () => {
    let opened: Awaited<ReturnType<typeof openStore>>
    beforeEach(async () => {
      opened = await openStore()
    })
    afterEach(() => opened.close())

    /**
     * Starts a flow whose wait was stored while another step ran; resolves when its first pause is being written, by
     * `write`.
     */
    async function startPausing(write: Journal['finish']) {
      const { store } = opened
      const [slow, pausing] = [gate(), gate()]
      let pauses = 0
      const finish: Journal['finish'] = (entry) => {
        if (entry.outcome.status !== 'PAUSED' || ++pauses > 1) return store.journal.finish(entry)
        pausing.open()
        return write(entry)
      }
      const { orchestrator, conversations, sent, cancelAll } = await openMortalProcess({
        store: { ...store, journal: { ...store.journal, finish } },
        diesAt: () => false,
        reply: async ({ messages }) => {
          if (messages.at(-1)?.content.includes('do slow')) await slow.opened
          return 'fine'
        },
      })
      const { id: threadId } = await conversations.createThread(USER, {})
      const { id: flowId } = await orchestrator.createFlow(threadId, USER, definition)
      const end = orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch((error: unknown) => error)
      await until(async () => (await orchestrator.listWaiting(USER)).length === 1)
      slow.open()
      await pausing.opened
      return {
        orchestrator,
        cancelAll,
        flowId,
        end,
        approve: () => orchestrator.signal(flowId, USER, 'ok', { approved: true }),
        statusIs: (status: string) => until(async () => (await orchestrator.getFlowStatus(flowId)).status === status),
        asked: () => sent.map(({ messages }) => /do (\w+)/.exec(messages.at(-1)?.content ?? '')?.[1]),
      }
    }

    /** Resolves when the pause is stored; the process learns of it when `held` opens. */
    async function startStored() {
      const [stored, held] = [gate(), gate()]
      const flow = await startPausing(async (entry) => {
        await opened.store.journal.finish(entry)
        stored.open()
        await held.opened
      })
      await stored.opened
      return { ...flow, held }
    }

    test('a decision before the write continues the flow once, after the write', async () => {
      const held = gate()
      const flow = await startPausing((entry) => held.opened.then(() => opened.store.journal.finish(entry)))
      await flow.approve()
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
      expect(flow.asked()).toEqual(['slow'])
      held.open()
      expect(await flow.end).toMatchObject({ status: 'COMPLETED' })
      expect(flow.asked()).toEqual(['slow', 'publish'])
    })

    test('a decision after the write, whose answer is still under way, continues the flow once and its caller gets the end', async () => {
      const { held, ...flow } = await startStored()
      await flow.approve()
      await flow.statusIs('COMPLETED')
      held.open()
      expect(await flow.end).toMatchObject({ status: 'COMPLETED' })
      expect(flow.asked()).toEqual(['slow', 'publish'])
    })

    test('a cancellation ends the flow without a further call', async () => {
      const held = gate()
      const flow = await startPausing((entry) => held.opened.then(() => opened.store.journal.finish(entry)))
      await flow.approve()
      const cancelled = flow.orchestrator.cancelFlow(flow.flowId, USER)
      held.open()
      expect(await cancelled).toMatchObject({ status: 'CANCELLED' })
      expect(await flow.end).toMatchObject({ code: 'FLOW_CANCELLED' })
      expect(flow.asked()).toEqual(['slow'])
    })

    test('a process that closes leaves the flow paused', async () => {
      const { held, ...flow } = await startStored()
      const closed = flow.cancelAll(new OrchestratorError('FLOW_CANCELLED', 'This process closes'))
      held.open()
      await closed
      expect(await opened.store.flows.find(flow.flowId)).toMatchObject({ status: 'PAUSED' })
      await flow.approve()
      expect(await flow.end).toMatchObject({ status: 'COMPLETED' })
      expect(flow.asked()).toEqual(['slow', 'publish'])
    })

    test('a refusal of the write fails the flow', async () => {
      const flow = await startPausing(() => Promise.reject(new OrchestratorError('INTERNAL', 'The write was refused')))
      expect(await flow.end).toMatchObject({ code: 'INTERNAL', message: 'The write was refused' })
      expect(await flow.orchestrator.getFlowStatus(flow.flowId)).toMatchObject({ status: 'FAILED' })
      expect(flow.asked()).toEqual(['slow'])
    })
  })
}
