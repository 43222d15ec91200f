import type { ASTNode, Environment, ParseResult } from '@marcbachmann/cel-js'
import { LRUCache } from 'lru-cache'
import { type PromptScope, type References, SCOPE_NAMES } from '../../domain/definition/prompt-scope.ts'
import { findSuggestion, withSuggestion } from '../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { positionAt, sourceError } from '../source-error.ts'
import { BOUNDED_CONTAINS, createCelEnvironment, restrict } from './cel.ts'
import { children, stepAccess, stepRead } from './cel-nodes.ts'
import { isNumber, joinNumbers, typesInWords } from './cel-numbers.ts'
import { toConditionContext } from './condition-context.ts'

/** A condition as data: a CEL expression over the names of a PromptScope. */
export interface Condition {
  readonly source: string
  readonly references: References
  /**
   * Evaluates the condition. False if it depends on the output of a step that was skipped, failed or has not run.
   * Absent `input` and `previous` read as ''. Throws STEP_FAILED when another value is missing, of the wrong type or
   * over a limit, or when the result is neither true nor false. An OrchestratorError that an accessor of the scope
   * throws is rethrown unchanged.
   */
  evaluate(scope: PromptScope): boolean
}

/** Maximum characters of a condition. */
const MAX_LENGTH = 10_000

const compiled = new LRUCache<string, Condition>({ max: 500 })

let environment: Environment | undefined

/** Compiles a condition, or returns it from the cache. Throws FLOW_INVALID (`details`: line, column, from 1). */
export function compileCondition(source: string): Condition {
  const known = compiled.get(source)
  if (known) return known
  const condition = compileCel(source)
  compiled.set(source, condition)
  return condition
}

function compileCel(source: string): Condition {
  if (source.length > MAX_LENGTH)
    throw sourceError(`expected a condition of at most ${MAX_LENGTH} characters, found ${source.length}`)
  environment ??= createCelEnvironment()
  const parsed = parse(environment, source)
  restrict(source, parsed.ast)
  const references = toReferences(parsed.ast)
  if (isNumber(parsed.ast)) throw sourceError('expected a condition that is true or false, found a number')
  joinNumbers(environment, parsed.ast)
  assertBoolean(source, parsed)
  return { source, references, evaluate: (scope) => evaluate(parsed, scope, references) }
}

function parse(cel: Environment, source: string): ParseResult {
  try {
    return cel.parse(source)
  } catch (error) {
    throw toSourceError(source, error)
  }
}

function assertBoolean(source: string, parsed: ParseResult): void {
  const { valid, type, error } = parsed.check()
  if (!valid) throw toSourceError(source, error)
  if (type !== 'bool' && type !== 'dyn')
    throw sourceError(`expected a condition that is true or false, found one of type ${type}`)
}

function toSourceError(source: string, error: unknown): OrchestratorError {
  const { summary, offset } = celFacts(error)
  const position = offset === undefined ? undefined : positionAt(source, offset)
  const unknown = /^Unknown variable: (.+)$/.exec(summary)?.[1]
  if (unknown === undefined) return sourceError(summary, position)
  const dashed = /\bsteps\.([\w-]*-[\w-]*)/.exec(source)?.[1]
  const hint = dashed === undefined ? undefined : `; an id with "-" is written steps["${dashed}"]`
  const message = `unknown variable "${unknown}"`
  return sourceError(hint ? message + hint : withSuggestion(message, findSuggestion(unknown, SCOPE_NAMES)), position)
}

/** The error text of cel-js without the excerpt of the source that its `message` contains. */
function celFacts(error: unknown): { summary: string; offset?: number } {
  if (!(error instanceof Error)) return { summary: String(error) }
  const text = 'summary' in error && typeof error.summary === 'string' ? error.summary : error.message
  const summary = typesInWords(text.replaceAll(BOUNDED_CONTAINS, 'contains'))
  const range = 'range' in error ? error.range : undefined
  if (typeof range !== 'object' || range === null || !('start' in range) || typeof range.start !== 'number') return { summary }
  return { summary, offset: range.start }
}

function toReferences(ast: ASTNode): References {
  const names = new Set<string>()
  const steps = new Set<string>()
  let allSteps = false
  const visit = (node: ASTNode): void => {
    const access = stepAccess(node)
    if (access === 'computed') allSteps = true
    else if (access) {
      steps.add(access.id)
      return
    }
    if (node.op === 'id') {
      names.add(node.args)
      if (node.args === 'steps') allSteps = true
    }
    for (const child of children(node)) visit(child)
  }
  visit(ast)
  return {
    steps: [...steps],
    needed: [],
    allSteps,
    original: names.has('original'),
    input: names.has('input'),
    previous: names.has('previous'),
    history: names.has('history'),
    metadata: names.has('metadata'),
    needsMetadata: false,
  }
}

function evaluate(parsed: ParseResult, scope: PromptScope, references: References): boolean {
  let result: unknown
  try {
    result = parsed(toConditionContext(scope, references))
  } catch (error) {
    if (OrchestratorError.is(error)) throw error
    if (lacksStep(error, scope)) return false
    throw new OrchestratorError('STEP_FAILED', `condition: ${celFacts(error).summary}`)
  }
  if (typeof result === 'boolean') return result
  throw new OrchestratorError(
    'STEP_FAILED',
    `condition: expected true or false, found ${result === null ? 'null' : typeof result}`,
  )
}

/** Whether an evaluation stopped because a step whose output or field it reads gave no answer in this run. */
function lacksStep(error: unknown, { steps }: PromptScope): boolean {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'no_such_key' || !('node' in error)) return false
  const read = stepRead(error.node)
  if (read === undefined) return false
  const views = read === 'computed' ? Object.values(steps) : [Object.hasOwn(steps, read.id) ? steps[read.id] : undefined]
  return views.some((view) => view?.status !== 'SUCCESS')
}
