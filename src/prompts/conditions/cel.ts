import { createRequire } from 'node:module'
import type { ASTNode, Environment } from '@marcbachmann/cel-js'
import { STEP_VIEW_FIELDS } from '../../domain/definition/prompt-scope.ts'
import { findSuggestion, withSuggestion } from '../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { positionAt, sourceError } from '../source-error.ts'
import { children, isStepAccess } from './cel-nodes.ts'
import { registerMixedNumbers } from './cel-numbers.ts'
import { jsonValues } from './json-values.ts'
import { searchCost } from './search-cost.ts'

/**
 * Functions and methods that a condition may call: no regular expressions, and nothing that builds text or lists
 * without a bound.
 */
const CALLS: ReadonlySet<string> = new Set(['has', 'size', 'int', 'double', 'string', 'bool'])
const METHODS: ReadonlySet<string> = new Set([
  ...['contains', 'startsWith', 'endsWith', 'size', 'trim', 'lower', 'lowerAscii', 'upperAscii', 'jsonValues'],
  ...['exists', 'exists_one', 'all', 'filter'],
])
const LOOPS: ReadonlySet<string> = new Set(['exists', 'exists_one', 'all', 'filter'])

/** Name that replaces `contains` in the expression, because CEL's own function cannot be overridden. */
export const BOUNDED_CONTAINS = 'containsText'
/** Maximum search cost of one `contains`. */
const MAX_SEARCH_COST = 2_000_000

function containsBounded(text: string, pattern: string): boolean {
  if (searchCost(text, pattern) <= MAX_SEARCH_COST) return text.includes(pattern)
  const message = `condition: contains cannot search for ${pattern.length} characters in ${text.length}`
  throw new OrchestratorError('STEP_FAILED', message)
}

/** CEL with the names and types of a PromptScope, so that its type check reports unknown names. */
export function createCelEnvironment(): Environment {
  const { Environment } = loadCel()
  const cel = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: 300, maxDepth: 40, maxListElements: 100, maxMapEntries: 20, maxCallArguments: 4 },
  })
    .registerVariable('original', 'string')
    .registerVariable('input', 'string')
    .registerVariable('previous', 'string')
    .registerVariable('steps', 'map<string, dyn>')
    .registerVariable('iteration', 'int')
    .registerVariable('metadata', 'map<string, dyn>')
    .registerVariable('history', 'list<map<string, string>>')
    .registerFunction(`string.${BOUNDED_CONTAINS}(string): bool`, containsBounded)
    .registerFunction('string.jsonValues(string): list<dyn>', jsonValues)
    .registerFunction('string.lower(): string', (text: string) => text.toLowerCase())
  return registerMixedNumbers(cel)
}

/**
 * `require` defers the 14 ms of loading to processes that use conditions; Node 20.19 and later load ES modules this
 * way.
 */
const loadCel = (): typeof import('@marcbachmann/cel-js') => createRequire(import.meta.url)('@marcbachmann/cel-js')

/**
 * Rejects CEL features that a condition may not use, and inserts the bounded `contains`. Throws FLOW_INVALID with the
 * position.
 */
export function restrict(source: string, node: ASTNode, insideLoop = false): void {
  const refuse = (message: string) => {
    throw sourceError(message, positionAt(source, node.start))
  }
  if (node.op === 'call' && !CALLS.has(node.args[0])) refuse(unknownCall('function', node.args[0], CALLS))
  if (node.op === 'rcall') {
    const method = node.args[0]
    if (!METHODS.has(method)) refuse(unknownCall('method', method, METHODS))
    if (method === 'contains') node.args[0] = BOUNDED_CONTAINS
    if (LOOPS.has(method)) {
      if (insideLoop) refuse(`"${method}" may not be used inside another loop`)
      restrict(source, node.args[1], insideLoop)
      for (const argument of node.args[2]) restrict(source, argument, true)
      return
    }
  }
  if (node.op === '.' && isStepAccess(node.args[0]) && !STEP_VIEW_FIELDS.includes(node.args[1])) {
    const field = node.args[1]
    const message = `a step has no "${field}" (it has ${STEP_VIEW_FIELDS.join(', ')})`
    refuse(withSuggestion(message, findSuggestion(field, STEP_VIEW_FIELDS)))
  }
  if (COMPARISONS.has(node.op)) assertComparable(node, refuse)
  for (const child of children(node)) restrict(source, child, insideLoop)
}

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])
/** Fields of a step whose value is always text. */
const TEXT_FIELDS: ReadonlySet<string> = new Set(['output', 'status'])

/**
 * Text never equals a number. CEL evaluates such a comparison to false or fails only at run time, after the step has
 * been paid for.
 */
function assertComparable(node: ASTNode, refuse: (message: string) => void): void {
  const sides = children(node)
  const text = sides.find((side) => side.op === '.' && isStepAccess(side.args[0]) && TEXT_FIELDS.has(side.args[1]))
  const isNumber = (side: ASTNode) => side.op === 'value' && (typeof side.args === 'bigint' || typeof side.args === 'number')
  if (!text || !sides.some(isNumber)) return
  const name = text.op === '.' ? text.args[1] : ''
  refuse(`the ${name} of a step is text and is compared with a number: write double(…) around it, or quotes around the number`)
}

function unknownCall(kind: string, name: string, known: ReadonlySet<string>): string {
  return withSuggestion(`conditions have no ${kind} "${name}" (they have ${[...known].join(', ')})`, findSuggestion(name, known))
}
