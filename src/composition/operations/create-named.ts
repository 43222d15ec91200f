import { findFunctionProblems } from '../../config/operations/function-settings.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import { FUNCTION_PROVIDER, type OperationFunction } from '../../domain/tools/functions.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { OpenAgentDirectory } from '../../orchestrator/agents/agent-directory.ts'
import { createFunctionDirectory, type OpenFunctionDirectory } from '../../orchestrator/operations/function-directory.ts'
import { assertFunctionSchemas } from '../../providers/functions/function-provider.ts'
import { createAgents } from '../create-agents.ts'
import { createParser } from '../create-parser.ts'
import type { LoadedConfig } from './load-functions.ts'

/** What definitions may name, and their parser. */
export interface Named {
  readonly agents: OpenAgentDirectory
  readonly functions: OpenFunctionDirectory
  readonly parser: DefinitionParser
  /** The configuration, in which functions that code registers later appear too. */
  readonly config: LoadedConfig
}

/** Throws CONFIG_INVALID for what `functions` of the configuration may not hold either. */
function assertFunction(name: string, operation: OperationFunction): void {
  const [problem] = findFunctionProblems({ [name]: operation })
  if (problem) {
    const path = ['functions', ...problem.path].join('.')
    throw new OrchestratorError('CONFIG_INVALID', `${path}: ${problem.message}`, { details: { function: name } })
  }
  assertFunctionSchemas(name, operation)
}

/** The agents and functions of a configuration, to which code may add further ones. */
export function createNamed(config: LoadedConfig): Named {
  const agents = createAgents(config)
  const functions = createFunctionDirectory({
    initial: config.functions,
    assertValid: assertFunction,
    isReplaced: Object.hasOwn(config.providers, FUNCTION_PROVIDER),
  })
  const { byName } = functions
  return { agents, functions, parser: createParser(agents.presets, byName), config: { ...config, functions: byName } }
}
