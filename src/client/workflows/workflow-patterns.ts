import { type BuiltWorkflow, type CustomAgent, WorkflowBuilder, WorkflowType } from './workflow-builder.ts'

/** A task of `customGraph`. */
export interface PatternTask {
  readonly id: string
  readonly role: string | CustomAgent
  readonly input: Readonly<Record<string, unknown>>
  readonly dependsOn?: readonly string[]
}

/** Frontend and backend at once, then a review of both, the corrections, and a last check. */
const fullStackDevelopment = (description: string): BuiltWorkflow =>
  new WorkflowBuilder(WorkflowType.GRAPH)
    .addTask('frontend', 'frontend', { task: `Build the user interface of: ${description}` })
    .addTask('backend', 'backend', { task: `Build the API and the server logic of: ${description}` })
    .addTask('review', 'qa', { task: `Review the interface and the API of: ${description}` }, ['frontend', 'backend'])
    .addTask('corrections', 'debugger', { task: 'Correct every finding of the review.' }, ['frontend', 'backend', 'review'])
    .addTask('verification', 'qa', { task: 'Check that every finding of the review is corrected.' }, ['review', 'corrections'])
    .addMetadata('pattern', 'fullStackDevelopment')
    .build()

/** Three reviews of the same code at once: security, performance and style. */
const parallelCodeReview = (code: string, language = 'typescript'): BuiltWorkflow =>
  Object.entries({
    security: 'Review this code for security: injection, missing checks of input and rights, leaks of secrets.',
    performance: 'Review this code for performance: needless work, growth with the size of the input, blocking calls.',
    style: 'Review this code for style: names, structure, readability, and the conventions of its language.',
  })
    .reduce(
      (builder, [id, task]) => builder.addTask(id, 'qa', { task, language, code }),
      new WorkflowBuilder(WorkflowType.PARALLEL),
    )
    .addMetadata('pattern', 'parallelCodeReview')
    .build()

/** A coordinator plans, each role works by the plan at the same time, and the coordinator joins their results. */
const coordinatorSupervised = (goal: string, roles: readonly string[] = ['frontend', 'backend', 'qa']): BuiltWorkflow => {
  const builder = new WorkflowBuilder(WorkflowType.GRAPH).addTask('plan', 'coordinator', {
    task: `Plan this goal as one task for each of these roles: ${roles.join(', ')}.\n\nThe goal: ${goal}`,
  })
  const workers = roles.map((role, index) => `${role}-${index + 1}`)
  for (const [index, role] of roles.entries()) {
    builder.addTask(workers[index] ?? role, role, { task: `Do the task of the role "${role}" in the plan.` }, ['plan'])
  }
  return builder
    .addTask('synthesis', 'coordinator', { task: `Join the results into one that reaches the goal: ${goal}` }, [
      'plan',
      ...workers,
    ])
    .addMetadata('pattern', 'coordinatorSupervised')
    .build()
}

/** Any graph of tasks. */
const customGraph = (tasks: readonly PatternTask[], metadata: Readonly<Record<string, unknown>> = {}): BuiltWorkflow => {
  const builder = new WorkflowBuilder(WorkflowType.GRAPH)
  for (const { id, role, input, dependsOn } of tasks) builder.addTask(id, role, input, dependsOn)
  for (const [key, value] of Object.entries(metadata)) builder.addMetadata(key, value)
  return builder.build()
}

/**
 * Workflows that are often needed, ready to be submitted.
 *
 * ```ts
 * import { SwarmInterface, WorkflowPatterns } from 'polyphony/client'
 *
 * const workflow = WorkflowPatterns.fullStackDevelopment('User authentication system')
 * const { status } = await workflow.submitAndWait(new SwarmInterface())
 * ```
 */
export const WorkflowPatterns = {
  fullStackDevelopment,
  parallelCodeReview,
  /** The same as `parallelCodeReview`. */
  codeReview: parallelCodeReview,
  coordinatorSupervised,
  customGraph,
} as const
