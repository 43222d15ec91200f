import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowType } from '../../src/domain/vocabulary.ts'

/** One flow of every type in which the step `bad` asks the provider `bad` and every other step asks `good`. */
export function sixFlows(
  goodModel: string,
  badModel: string,
  extra: Partial<FlowStepInput>,
): Record<FlowType, FlowDefinitionInput> {
  const good = (id: string, action: FlowStepInput['action'], more: Partial<FlowStepInput> = {}): FlowStepInput => ({
    id,
    provider: 'good',
    model: goodModel,
    action,
    maxRetries: 0,
    ...more,
  })
  const bad = (action: FlowStepInput['action'], more: Partial<FlowStepInput> = {}): FlowStepInput => ({
    id: 'bad',
    provider: 'bad',
    model: badModel,
    action,
    ...extra,
    ...more,
  })
  return {
    sequential: { name: 'x', type: 'sequential', steps: [good('first', 'generate'), bad('analyze'), good('last', 'summarize')] },
    parallel: {
      name: 'x',
      type: 'parallel',
      steps: [good('beside', 'generate'), bad('generate'), good('join', 'summarize', { inputFrom: 'all' })],
    },
    graph: {
      name: 'x',
      type: 'graph',
      steps: [
        good('first', 'generate'),
        bad('analyze', { dependsOn: ['first'] }),
        good('last', 'summarize', { dependsOn: ['bad'] }),
      ],
    },
    conditional: {
      name: 'x',
      type: 'conditional',
      steps: [
        good('first', 'analyze'),
        bad('generate', { condition: 'steps.first.output.contains("approved")' }),
        good('other', 'generate', { otherwise: true }),
      ],
    },
    critique: {
      name: 'x',
      type: 'critique',
      critique: { rounds: 2 },
      steps: [good('first', 'generate'), bad('critique'), good('last', 'refine')],
    },
    refinement: {
      name: 'x',
      type: 'refinement',
      steps: [good('first', 'generate'), bad('evaluate'), good('last', 'refine')],
    },
  }
}
