import type { PolyphonyConfig } from '../config/config.ts'
import { type AgentPresets, NO_AGENTS } from '../domain/agents/agent.ts'
import { createDefinitionParser, type DefinitionParser } from '../domain/definition/parser.ts'
import type { FunctionRegistry } from '../domain/tools/named-functions.ts'
import { executors } from '../executors/registry.ts'
import { compileCondition } from '../prompts/conditions/condition.ts'
import { compileTemplate } from '../prompts/template.ts'
import { createAgents } from './create-agents.ts'

/**
 * The parser of definitions that may name these agents; needs no database. Without `functions` it accepts every
 * name of a function.
 */
export const createParser = (agents: AgentPresets = NO_AGENTS, functions?: FunctionRegistry): DefinitionParser =>
  createDefinitionParser({
    flowTypes: Object.values(executors),
    agents,
    ...(functions && { functions }),
    references: {
      template: (source) => compileTemplate(source).references,
      condition: (source) => compileCondition(source).references,
    },
  })

/** The parser for the agents of a configuration, before anything is opened; without one it knows no agent. */
export const createConfiguredParser = (config?: Pick<PolyphonyConfig, 'agents' | 'providers' | 'simulator'>): DefinitionParser =>
  createParser(config && createAgents(config).presets)
