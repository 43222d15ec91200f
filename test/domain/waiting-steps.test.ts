import { describe, expect, test } from 'vitest'
import { toStoredJson } from '../../src/domain/definition/json.ts'
import { toDurationMs } from '../../src/domain/waiting/waiting-steps.ts'
import { executors } from '../../src/executors/registry.ts'
import { createTestParser, problemsOf } from '../support/definitions.ts'

const parser = createTestParser({ flowTypes: Object.values(executors) })
const flowOf = (...steps: readonly object[]) => ({
  name: 'waiting',
  type: 'sequential',
  steps: [{ id: 'draft', model: 'scripted/m', action: 'generate' }, ...steps],
})
const problems = (...steps: readonly object[]) =>
  problemsOf(() => parser.parse(flowOf(...steps))).map(({ path, message }) => `${path}: ${message}`)
const approval = { prompt: 'Publish {{ steps.draft.output }}?' }

describe('steps that wait', () => {
  test.each([
    [90_000, 90_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    ['45s', 45_000],
    ['10ms', 10],
    ['1d2h3m4s5ms', 93_784_005],
    ['30m1h', undefined],
    ['', undefined],
    ['1.5h', undefined],
    ['soon', undefined],
  ])('the duration %j has %j milliseconds', (duration, ms) => {
    expect(toDurationMs(duration)).toBe(ms)
  })

  test('steps that wait need no model and keep their form when they are stored and parsed again', () => {
    const definition = parser.parse(
      flowOf(
        { id: 'ok', action: 'approve', approval: { ...approval, schema: { type: 'object' }, assignees: ['ada'] } },
        { id: 'pause', action: 'wait', for: '1h30m' },
        { id: 'noon', action: 'wait', until: '2027-01-31T12:00:00+02:00', inputFrom: 'draft' },
        { id: 'paid', action: 'wait', event: 'paid', correlation: 'order-{{ metadata.order }}', timeoutMs: 1_000 },
      ),
    )
    expect(definition.steps[1]).toMatchObject({ provider: 'polyphony', model: 'approve' })
    const { json, isData } = toStoredJson(definition)
    expect(isData).toBe(true)
    expect(json).not.toContain('polyphony')
    expect(toStoredJson(parser.parse(JSON.parse(json))).json).toBe(json)
    expect(toStoredJson(parser.parse(definition)).json).toBe(json)
  })

  test('every key that does not belong to the action is a problem at its path', () => {
    expect(problems({ id: 'ok', action: 'approve' })).toEqual([
      'steps[1].approval: expected what an approve step asks, found none',
    ])
    expect(problems({ id: 'ok', action: 'approve', approval, model: 'scripted/m', prompt: 'x', samples: 2, for: 10 })).toEqual([
      'steps[1].model: expected none with action "approve", which no model answers',
      'steps[1].prompt: expected none with action "approve", which no model answers',
      'steps[1].samples: expected none with action "approve", which no model answers',
      'steps[1].for: expected only with action "wait"; see approval.timeoutMs',
    ])
    expect(problems({ id: 'a', model: 'scripted/m', action: 'refine', approval, event: 'paid' })).toEqual([
      'steps[1].approval: expected only with action "approve", found with action "refine"',
      'steps[1].event: expected only with action "wait", found with action "refine"',
    ])
  })

  test('a wait has exactly one of a duration, an instant and an event', () => {
    expect(problems({ id: 'w', action: 'wait' })).toEqual(['steps[1].for: expected one of for, until or event, found none'])
    expect(problems({ id: 'w', action: 'wait', for: 10, event: 'paid' })).toEqual([
      'steps[1].event: expected one of for, until or event, found both for and event',
    ])
    expect(problems({ id: 'w', action: 'wait', for: 10, timeoutMs: 5 })).toEqual([
      'steps[1].timeoutMs: expected only together with event',
    ])
    expect(problems({ id: 'w', action: 'wait', for: 'soon' })[0]).toContain('steps[1].for: ')
    expect(problems({ id: 'w', action: 'wait', until: 'tomorrow' })[0]).toContain('steps[1].until: ')
  })

  test('templates of approvals are checked as prompts are', () => {
    expect(
      problems(
        { id: 'ok', action: 'approve', approval: { prompt: '{{ steps.drfat.output }}', show: '{{ steps.later.output }}' } },
        { id: 'later', model: 'scripted/m', action: 'refine' },
      ),
    ).toEqual(['steps[1].approval.prompt: no step "drfat"', 'steps[1].approval.show: step "later" comes later (steps[2])'])
  })
})
