import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import { stepMark } from './call-log.ts'

export const CHAOS_USER = 'ada'
export const CHAOS_INPUT = 'the question'

const chaosStep = (run: string, id: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
  id,
  provider: 'desk',
  model: 'm',
  action: 'generate',
  system: stepMark(run, id),
  prompt: '{{ original }}',
  maxRetries: 0,
  ...more,
})

const stepIds = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `s${index + 1}`)

/** Steps one after the other. */
export const lineOf = (run: string, steps: number): FlowDefinitionInput => ({
  name: 'line',
  type: 'sequential',
  steps: stepIds(steps).map((id) => chaosStep(run, id)),
})

/** A graph in which each step waits for up to two random earlier ones. `random` gives numbers from 0 to 1. */
export function graphOf(run: string, steps: number, random: () => number): FlowDefinitionInput {
  const ids = stepIds(steps)
  return {
    name: 'graph',
    type: 'graph',
    steps: ids.map((id, index) => {
      const earlier = ids.slice(Math.max(0, index - 4), index)
      const dependsOn = earlier.filter(() => random() < 0.5).slice(0, 2)
      return chaosStep(run, id, dependsOn.length > 0 ? { dependsOn } : {})
    }),
  }
}
