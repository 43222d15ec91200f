import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'

/** Steps name their run and themselves, so that the server can count who asks. */
const deskStep = (run: string, id: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
  id,
  provider: 'desk',
  model: 'm',
  action: 'generate',
  system: `RUN(${run})STEP(${id})`,
  prompt: '{{ original }}',
  maxRetries: 0,
  ...more,
})

/** What the killed process runs; the surviving one resumes it from the database. */
export const killDefinitions: Readonly<Record<string, (run: string) => FlowDefinitionInput>> = {
  sequential: (run) => ({
    name: run,
    type: 'sequential',
    steps: ['a', 'b', 'c', 'd', 'e'].map((id) => deskStep(run, id)),
  }),
  parallel: (run) => ({
    name: run,
    type: 'parallel',
    steps: [...['a', 'b', 'c', 'd'].map((id) => deskStep(run, id)), deskStep(run, 'join', { inputFrom: 'all' })],
  }),
  refinement: (run) => ({
    name: run,
    type: 'refinement',
    refinement: { maxIterations: 2, qualityThreshold: 1 },
    steps: [deskStep(run, 'a'), deskStep(run, 'judge', { action: 'evaluate' }), deskStep(run, 'mend', { action: 'refine' })],
  }),
}
