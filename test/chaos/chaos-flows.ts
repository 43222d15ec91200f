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

/** A step that waits for others and sends their outputs to its model. */
const joiningStep = (run: string, id: string, dependsOn: readonly string[]): FlowStepInput =>
  dependsOn.length === 0
    ? chaosStep(run, id)
    : chaosStep(run, id, { dependsOn: [...dependsOn], prompt: dependsOn.map((step) => `{{ steps.${step}.output }}`).join(' ') })

/** A graph in which each step waits for up to two random earlier ones. `random` gives numbers from 0 to 1. */
export function graphOf(run: string, steps: number, random: () => number): FlowDefinitionInput {
  const ids = stepIds(steps)
  return {
    name: 'graph',
    type: 'graph',
    steps: ids.map((id, index) => {
      const earlier = ids.slice(Math.max(0, index - 4), index)
      return joiningStep(run, id, earlier.filter(() => random() < 0.5).slice(0, 2))
    }),
  }
}

/** Steps that run side by side, and one that waits for all of them, as in the templates with a panel. */
export function panelOf(run: string, members: number): FlowDefinitionInput {
  const ids = stepIds(members)
  return {
    name: 'panel',
    type: 'parallel',
    steps: [...ids.map((id) => chaosStep(run, id)), joiningStep(run, 'review', ids)],
  }
}

/** A graph of layers: each step waits for all steps of the layer before. */
export function layersOf(run: string, layers: number, width: number): FlowDefinitionInput {
  const idsOf = (layer: number) => stepIds(width).map((id) => `l${layer}${id}`)
  return {
    name: 'layers',
    type: 'graph',
    steps: Array.from({ length: layers }, (_, layer) =>
      idsOf(layer).map((id) => joiningStep(run, id, layer === 0 ? [] : idsOf(layer - 1))),
    ).flat(),
  }
}
