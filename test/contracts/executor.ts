import { describe, expect, test } from 'vitest'
import type { FlowDefinition } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Executor } from '../../src/executors/executor.ts'
import { verdict } from '../support/flows.ts'
import { askKey, type Walk, type WalkAnswer, walk } from '../support/walk.ts'

export interface ExecutorSuite {
  readonly name: string
  readonly executor: Executor
  /** Definitions that between them take every way through the executor; conditions are judged by the suite. */
  readonly definitions: Readonly<Record<string, FlowDefinition>>
}

const SCORES: Readonly<Record<string, (iteration: number) => number>> = {
  'rise to the goal': (iteration) => Math.min(1, 0.2 + 0.2 * iteration),
  'never rise': () => 0.3,
  'are good at once': () => 1,
}

/** The promises of `Executor` (src/executors/executor.ts); every flow type keeps them, whatever its own order of steps is. */
export function describeExecutor({ name, executor, definitions }: ExecutorSuite): void {
  describe.each(Object.entries(definitions))(`${name} as an executor, over %s`, (_, definition) => {
    const conditional = definition.steps.filter((step) => step.condition !== undefined).map(({ id }) => id)
    const ways = Object.entries(SCORES).flatMap(([scores, scoreOf]) =>
      subsetsOf(conditional).map((holding) => ({
        way: `with scores that ${scores}, the conditions of ${holding.join(' and ') || 'no step'} holding`,
        options: {
          answer: (_stepId: string, iteration: number): WalkAnswer => ({ parsed: verdict(scoreOf(iteration)) }),
          holds: (stepId: string) => holding.includes(stepId),
        },
      })),
    )
    const usual = { answer: (_stepId: string, iteration: number) => ({ parsed: verdict(0.2 + 0.2 * iteration) }) }

    test('the same steps see the same results, in whatever order steps end', async () => {
      for (const { way, options } of ways) {
        const oldest = await walk(executor, definition, { ...options, order: 'oldest first' })
        const newest = await walk(executor, definition, { ...options, order: 'newest first' })
        expect(shown(newest), way).toEqual(shown(oldest))
      }
    })

    test('recorded results replay to the same outcome without a call', async () => {
      for (const { way, options } of ways) {
        const first = await walk(executor, definition, options)
        const again = await walk(executor, definition, { ...options, recorded: first.successes })
        expect(again.called, way).toEqual([])
        expect(shown(again), way).toEqual(shown(first))
      }
    })

    test('a flow that was stopped after any answer resumes with the remaining calls only', async () => {
      for (const { way, options } of ways) {
        const whole = await walk(executor, definition, options)
        for (let cancelAfter = 1; cancelAfter < whole.called.length; cancelAfter++) {
          const stopped = await walk(executor, definition, { ...options, cancelAfter })
          expect(stopped.error, way).toMatchObject({ code: 'FLOW_CANCELLED' })
          const resumed = await walk(executor, definition, { ...options, recorded: stopped.successes })
          expect([...stopped.successes.keys(), ...resumed.called].sort(), way).toEqual(whole.called.toSorted())
          expect(shown(resumed), way).toEqual(shown(whole))
        }
      }
    })

    test('no step is called less or more often than calls() states', async () => {
      const ranges = executor.calls(definition)
      expect(ranges.map(({ stepId }) => stepId)).toEqual(definition.steps.map(({ id }) => id))
      for (const { way, options } of ways) {
        const { error, called } = await walk(executor, definition, options)
        for (const { stepId, min, max } of ranges) {
          const count = called.filter((key) => key.startsWith(`${stepId}#`)).length
          expect(count, `calls of "${stepId}" ${way}`).toBeLessThanOrEqual(max)
          if (error === undefined) expect(count, `calls of "${stepId}" ${way}`).toBeGreaterThanOrEqual(min)
        }
      }
    })

    test('no step runs twice in one iteration, and none sees a result twice', async () => {
      for (const { way, options } of ways) {
        const { asks } = await walk(executor, definition, options)
        const keys = asks.map(({ key }) => key)
        expect(new Set(keys).size, way).toBe(keys.length)
        for (const { key, visible } of asks) expect(new Set(visible).size, `what ${key} sees ${way}`).toBe(visible.length)
      }
    })

    test('a step whose condition does not hold is not called', async () => {
      for (const { way, options } of ways) {
        const { called } = await walk(executor, definition, options)
        const stepIds = called.map((key) => key.split('#')[0] ?? '')
        expect(
          stepIds.filter((stepId) => conditional.includes(stepId) && !options.holds(stepId)),
          way,
        ).toEqual([])
      }
    })

    test('the output of a completed flow is that of a successful step', async () => {
      for (const { way, options } of ways) {
        const { outcome, error, successes } = await walk(executor, definition, options)
        if (outcome?.final) expect([...successes.values()], way).toContain(outcome.final)
        else if (successes.size > 0) expect(error ?? outcome?.output, way).toBeDefined()
      }
    })

    test('a run that answers() lists provides the output of the flow whenever it succeeds', async () => {
      const named = new Set(executor.answers?.(definition).map(({ stepId, iteration }) => askKey(stepId, iteration)))
      const all = [...ways, ...Object.values(SCORES).map((scoreOf) => ({ way: 'all', options: { answer: verdicts(scoreOf) } }))]
      for (const { way, options } of all) {
        const { outcome, error, successes } = await walk(executor, definition, options)
        if (error) continue
        for (const [key, result] of successes) if (named.has(key)) expect(outcome?.final, `${key} ${way}`).toBe(result)
      }
    })

    test('a run that answers() lists ends the flow if it fails', async () => {
      for (const { stepId, iteration } of executor.answers?.(definition) ?? []) {
        const key = askKey(stepId, iteration)
        const ended = await walk(executor, definition, {
          answer: failingAt(
            key,
            verdicts(() => 0.3),
          ),
        })
        if (ended.called.includes(key)) expect(ended.error, key).toMatchObject({ code: 'PROVIDER_REJECTED' })
      }
    })

    test('a failed step ends the flow with its own code; no step starts after it and none is left running', async () => {
      const { called } = await walk(executor, definition, usual)
      for (const order of ['oldest first', 'newest first'] as const) {
        for (const key of called) {
          const ended = await walk(executor, definition, { ...usual, order, answer: failingAt(key, usual.answer) })
          expect(ended.error, `the end of a flow whose ${key} fails`).toMatchObject({ code: 'PROVIDER_REJECTED', message: key })
          expect(ended.afterFailure).toEqual([])
          expect(ended.abandoned).toBe(0)
        }
      }
    })

    test('the failure of a step aborts those that run beside it', async () => {
      const { called } = await walk(executor, definition, usual)
      for (const key of called) {
        const ended = await walk(executor, definition, { ...usual, order: 'newest first', answer: failingAt(key, usual.answer) })
        expect(ended.aborted.toSorted(), `what a failure of ${key} aborts`).toEqual(ended.besideFailure.toSorted())
      }
    })

    test('a flow completes although an optional step fails', async () => {
      const { called } = await walk(executor, definition, usual)
      for (const key of called) {
        const [stepId] = key.split('#')
        const steps = definition.steps.map((step) => (step.id === stepId ? { ...step, optional: true } : step))
        const ended = await walk(executor, { ...definition, steps }, { ...usual, answer: failingAt(key, usual.answer) })
        expect(ended.error, `the end of a flow whose optional ${key} fails`).toBeUndefined()
        expect(ended.outcome?.final?.status ?? 'SUCCESS').toBe('SUCCESS')
      }
    })

    test('a cancelled flow ends with the reason of the cancellation', async () => {
      const { called } = await walk(executor, definition, usual)
      for (let cancelAfter = 1; cancelAfter < called.length; cancelAfter++) {
        const ended = await walk(executor, definition, { ...usual, cancelAfter })
        expect(ended).toMatchObject({ error: { code: 'FLOW_CANCELLED' }, outcome: undefined, abandoned: 0 })
      }
    })
  })
}

const verdicts =
  (scoreOf: (iteration: number) => number) =>
  (_stepId: string, iteration: number): WalkAnswer => ({
    parsed: verdict(scoreOf(iteration)),
  })

const failingAt =
  (failing: string, answer: (stepId: string, iteration: number) => WalkAnswer) =>
  (stepId: string, iteration: number): WalkAnswer =>
    `${stepId}#${iteration}` === failing
      ? { error: new OrchestratorError('PROVIDER_REJECTED', failing) }
      : answer(stepId, iteration)

/** All that must not depend on timing. */
const shown = ({ asks, skipped, outcome, error }: Walk) => ({
  asks: asks.toSorted((one, other) => one.key.localeCompare(other.key)),
  skipped: skipped.toSorted(),
  outcome: outcome && { final: outcome.final?.id, output: outcome.output, stopReason: outcome.stopReason },
  error,
})

function subsetsOf(ids: readonly string[]): readonly (readonly string[])[] {
  const [first, ...rest] = ids
  if (first === undefined) return [[]]
  return subsetsOf(rest).flatMap((set) => [set, [first, ...set]])
}
