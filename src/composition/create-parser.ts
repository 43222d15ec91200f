import type { PolyphonyConfig } from '../config/config.ts'
import { createDefinitionParser, type DefinitionParser } from '../domain/definition/parser.ts'
import { executors } from '../executors/registry.ts'
import { compileCondition } from '../prompts/conditions/condition.ts'
import { compileTemplate } from '../prompts/template.ts'

/** The parser of definitions for the agents of a configuration; needs no database. */
export const createParser = (agents: PolyphonyConfig['agents'] = {}): DefinitionParser =>
  createDefinitionParser({
    flowTypes: Object.values(executors),
    agents,
    references: {
      template: (source) => compileTemplate(source).references,
      condition: (source) => compileCondition(source).references,
    },
  })
