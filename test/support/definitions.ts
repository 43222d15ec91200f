import type { AgentPreset } from '../../src/domain/agents/agent.ts'
import type { DefinitionProblem } from '../../src/domain/definition/flow-definition.ts'
import { createDefinitionParser, type DefinitionParserOptions } from '../../src/domain/definition/parser.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { compileCondition } from '../../src/prompts/conditions/condition.ts'
import { compileTemplate } from '../../src/prompts/template.ts'
import { caught } from './caught.ts'

type TestParserOptions = Partial<Omit<DefinitionParserOptions, 'agents'>> & {
  readonly agents?: Readonly<Record<string, AgentPreset>>
}

/** A parser with every flow type, none of which has rules of its own unless given. */
export const createTestParser = ({ agents = {}, ...options }: TestParserOptions = {}) =>
  createDefinitionParser({
    flowTypes: [
      { type: 'sequential' },
      { type: 'parallel' },
      { type: 'graph' },
      { type: 'conditional' },
      { type: 'critique', forwardReferences: true },
      { type: 'refinement', forwardReferences: true },
    ],
    references: {
      template: (source) => compileTemplate(source).references,
      condition: (source) => compileCondition(source).references,
    },
    agents: { byId: new Map(Object.entries(agents)) },
    ...options,
  })

/** A sequential definition with these steps; each gets an id, a model and an action where it names none. */
export const definitionOf = (steps: readonly object[], rest: object = {}) => ({
  name: 'Test',
  type: 'sequential',
  ...rest,
  steps: steps.map((step, index) => ({ id: `s${index}`, model: 'openai/gpt-5.4', action: 'generate', ...step })),
})

/** The problems of the FLOW_INVALID that `run` must throw. */
export function problemsOf(run: () => unknown): readonly DefinitionProblem[] {
  const error = caught(run)
  if (!OrchestratorError.is(error) || error.code !== 'FLOW_INVALID' || !Array.isArray(error.details.problems)) throw error
  return error.details.problems
}
