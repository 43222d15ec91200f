import { describe, expect, test } from 'vitest'
import type { FlowObservation, FlowObserver } from '../../src/domain/execution/observation.ts'
import { joinObservers } from '../../src/telemetry/observers.ts'
import { ATTEMPT, CALL, CALL_ENDING, FLOW, FLOW_ENDING } from './facts.ts'

const observer = (observation: FlowObservation, watching = true): FlowObserver => ({
  isWatching: () => watching,
  flowStarted: () => observation,
})

const thrower = (): never => {
  throw new Error('an observer broke')
}

describe('several observers', () => {
  test('are all notified, nested in one another, if they are watching', async () => {
    const notified: string[] = []
    const named = (name: string): FlowObservation => ({
      within: (work) => {
        notified.push(`${name} opens`)
        return work()
      },
      callStarted: () => ({ attempted: () => {}, ended: () => notified.push(`${name} call`) }),
      ended: () => notified.push(`${name} flow`),
    })
    const joined = joinObservers([observer(named('first')), observer(named('blind'), false), observer(named('second'))])
    const flow = await joined.flowStarted(FLOW)
    expect(flow.within?.(() => 'the work')).toBe('the work')
    flow.callStarted?.(CALL).ended(CALL_ENDING)
    flow.ended(FLOW_ENDING)
    expect(notified).toEqual(['first opens', 'second opens', 'first call', 'second call', 'first flow', 'second flow'])
  })

  test('are called synchronously if none returns a promise', () => {
    expect(joinObservers([observer({ ended: () => {} })]).flowStarted(FLOW)).not.toBeInstanceOf(Promise)
  })

  test('observers may be added later', () => {
    const observers: FlowObserver[] = []
    const joined = joinObservers(observers)
    expect(joined.isWatching()).toBe(false)
    observers.push(observer({ ended: () => {} }))
    expect(joined.isWatching()).toBe(true)
  })

  test('request no call events and no content if none of them needs these', async () => {
    const flow = await joinObservers([observer({ ended: () => {} })]).flowStarted(FLOW)
    expect(flow.callStarted).toBeUndefined()
    expect(flow.within).toBeUndefined()
    const calls = await joinObservers([
      observer({ callStarted: () => ({ attempted: () => {}, ended: () => {} }), ended: () => {} }),
    ]).flowStarted(FLOW)
    const call = calls.callStarted?.(CALL)
    expect(call).toBeDefined()
    expect(call?.content).toBeUndefined()
    expect(call?.within).toBeUndefined()
  })

  test('do not affect the work or each other by throwing', async () => {
    let notified = 0
    const good: FlowObservation = {
      callStarted: () => ({
        attempted: () => notified++,
        ended: () => notified++,
        content: { asked: () => notified++, answered: () => notified++ },
      }),
      ended: () => notified++,
    }
    const broken: FlowObservation = {
      callStarted: () => ({ attempted: thrower, ended: thrower, content: { asked: thrower, answered: thrower } }),
      ended: thrower,
    }
    const joined = joinObservers([
      observer(broken),
      { isWatching: () => true, flowStarted: thrower },
      { isWatching: () => true, flowStarted: async () => thrower() },
      observer({ callStarted: thrower, ended: thrower }),
      observer(good),
    ])
    const flow = await joined.flowStarted(FLOW)
    const call = flow.callStarted?.(CALL)
    call?.content?.asked({ messages: [] })
    call?.content?.answered({ text: '' })
    call?.attempted(ATTEMPT)
    call?.ended(CALL_ENDING)
    flow.ended(FLOW_ENDING)
    expect(notified).toBe(5)
  })
})
