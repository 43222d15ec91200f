import type { Template as LiquidNode, StaticAnalysis, Variable } from 'liquidjs'
import { LRUCache } from 'lru-cache'
import {
  NO_REFERENCES,
  type PromptScope,
  type References,
  SCOPE_NAMES,
  STEP_VIEW_FIELDS,
  type StepView,
} from '../domain/definition/prompt-scope.ts'
import { findSuggestion, withSuggestion } from '../domain/definition/suggestion.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createLiquid, type LiquidEngine, TEMPLATE_LIMITS } from './liquid.ts'
import { compilePlainTemplate } from './plain-template.ts'
import { inWords, type SourcePosition, sourceError } from './source-error.ts'

/** A prompt as data: a Liquid template over the names of a PromptScope. */
export interface CompiledTemplate {
  readonly source: string
  readonly references: References
  /**
   * Renders the prompt. Throws STEP_FAILED that names the missing value (`details.variable`) or the exceeded limit. An
   * OrchestratorError that an accessor of the scope throws is rethrown unchanged.
   */
  render(scope: PromptScope): string
  /** As `render`; a source that is exactly one output, such as `{{ steps.read.parsed }}`, gives its value unchanged. */
  renderValue(scope: PromptScope): unknown
}

const compiled = new LRUCache<string, CompiledTemplate>({
  max: 500,
  maxSize: 8_000_000,
  sizeCalculation: ({ source }) => source.length + 1_000,
})

let liquid: LiquidEngine | undefined

/**
 * Compiles a template, or returns it from the cache. Text without `{{` and `{%` never reaches Liquid. Throws
 * FLOW_INVALID (`details`: line, column, from 1) for bad syntax and unknown names, filters and tags.
 */
export function compileTemplate(source: string): CompiledTemplate {
  if (!source.includes('{{') && !source.includes('{%'))
    return { source, references: NO_REFERENCES, render: () => source, renderValue: () => source }
  const known = compiled.get(source)
  if (known) return known
  const template = compile(source)
  compiled.set(source, template)
  return template
}

function compile(source: string): CompiledTemplate {
  const plain = compilePlainTemplate(source)
  if (!plain) return compileLiquid(source)
  let liquid: CompiledTemplate | undefined
  const renderLiquid = (scope: PromptScope) => {
    liquid ??= compileLiquid(source)
    return liquid.render(scope)
  }
  const { references } = plain
  // The values of plain templates are texts.
  const render = (scope: PromptScope) => assertOutput(plain.render(scope) ?? renderLiquid(scope))
  return { source, references, render, renderValue: render }
}

function compileLiquid(source: string): CompiledTemplate {
  liquid ??= createLiquid()
  const engine = liquid
  const { nodes, analysis } = parse(engine, source)
  assertKnownNames(analysis)
  const references = { ...toReferences(analysis), ...neededValues(engine, nodes) }
  const [only] = nodes
  const isValue = nodes.length === 1 && only?.token.kind === OUTPUT_TOKEN
  const renderText = (scope: PromptScope) => render(engine, nodes, toEnvironment(scope, references))
  return {
    source,
    references,
    render: renderText,
    renderValue: isValue ? (scope) => evaluate(engine, nodes, toEnvironment(scope, references)) : renderText,
  }
}

function parse(engine: LiquidEngine, source: string): { nodes: LiquidNode[]; analysis: StaticAnalysis } {
  try {
    const nodes = engine.parse(source)
    return { nodes, analysis: engine.analyze(nodes) }
  } catch (error) {
    throw OrchestratorError.is(error) ? error : sourceError(rootCause(error).message, positionOf(error))
  }
}

function assertKnownNames({ globals, variables }: StaticAnalysis): void {
  for (const [name, uses] of Object.entries(globals)) {
    if (SCOPE_NAMES.some((known) => known === name) || name === 'forloop') continue
    throw unknownName(`unknown variable "${name}"`, findSuggestion(name, SCOPE_NAMES), uses[0])
  }
  for (const use of variables.steps ?? []) {
    const [, step, field] = use.segments
    if (typeof step !== 'string' || typeof field !== 'string' || STEP_VIEW_FIELDS.includes(field)) continue
    throw unknownName(
      `a step has no "${field}" (it has ${STEP_VIEW_FIELDS.join(', ')})`,
      findSuggestion(field, STEP_VIEW_FIELDS),
      use,
    )
  }
}

function unknownName(message: string, suggestion: string | undefined, use: Variable | undefined): OrchestratorError {
  return sourceError(withSuggestion(message, suggestion), use && { line: use.location.row, column: use.location.col })
}

/** The steps and the metadata that every rendering reads, so that it fails if one of them has no value. */
function neededValues(engine: LiquidEngine, nodes: readonly LiquidNode[]): Pick<References, 'needed' | 'needsMetadata'> {
  const needed = new Set<string>()
  let needsMetadata = false
  for (const node of nodes) {
    // The filter "default" accepts a missing value, as its subject and as its argument.
    if (!isUnconditional(node) || hasDefault(node)) continue
    const { variables } = engine.analyze([node])
    if (variables.metadata !== undefined) needsMetadata = true
    for (const { segments } of variables.steps ?? []) {
      const [, id, field] = segments
      if (typeof id === 'string' && field !== 'status') needed.add(id)
    }
  }
  return { needed: [...needed], needsMetadata }
}

/** An output or an assignment outside of every block. */
const isUnconditional = ({ token }: LiquidNode): boolean =>
  token.kind === OUTPUT_TOKEN || ('name' in token && token.name === 'assign')

/** `TokenKind.Output` of liquidjs, which loads only when a template needs it. */
const OUTPUT_TOKEN = 8

/** Liquid accepts a missing value only where `default` is its first filter. */
function hasDefault(node: LiquidNode): boolean {
  const value: unknown = 'value' in node ? node.value : undefined
  if (typeof value !== 'object' || value === null || !('filters' in value) || !Array.isArray(value.filters)) return false
  const first: unknown = value.filters[0]
  return typeof first === 'object' && first !== null && 'name' in first && first.name === 'default'
}

function toReferences({ variables }: StaticAnalysis): Omit<References, 'needed' | 'needsMetadata'> {
  const steps = new Set<string>()
  let allSteps = false
  for (const { segments } of variables.steps ?? []) {
    const id = segments[1]
    if (typeof id === 'string') steps.add(id)
    else allSteps = true
  }
  const reads = (name: string) => Object.hasOwn(variables, name)
  return {
    steps: [...steps],
    allSteps,
    original: reads('original'),
    input: reads('input'),
    previous: reads('previous'),
    history: reads('history'),
    metadata: reads('metadata'),
  }
}

/** Holds only the names that were found statically, so that a computed name cannot read others. */
function toEnvironment(scope: PromptScope, references: References): object {
  const environment: Record<string, unknown> = Object.create(null)
  environment.iteration = scope.iteration
  environment.metadata = scope.metadata
  for (const name of ['original', 'input', 'previous', 'history'] as const) {
    if (references[name]) Object.defineProperty(environment, name, { enumerable: true, get: () => scope[name] })
  }
  const ids = references.allSteps ? Object.keys(scope.steps) : references.steps
  if (references.allSteps || ids.length > 0) {
    const steps: Record<string, StepView> = Object.create(null)
    for (const id of ids) {
      if (!Object.hasOwn(scope.steps, id)) continue
      const isNeeded = references.needed.includes(id)
      Object.defineProperty(steps, id, { enumerable: true, get: () => (isNeeded ? scope.steps[id] : lenient(scope.steps[id])) })
    }
    environment.steps = steps
  }
  return environment
}

/** Liquid treats `null` as a value, for example as the argument of `default`; `undefined` would end the rendering. */
const lenient = (view: StepView | undefined): object | undefined =>
  view && !('output' in view) ? { ...view, output: null } : view

function render(engine: LiquidEngine, nodes: LiquidNode[], environment: object): string {
  try {
    return assertOutput(engine.render(nodes, environment))
  } catch (error) {
    throw toStepError(error)
  }
}

/** The value is copied as JSON, so that a function cannot change the result of a step through its arguments. */
function evaluate(engine: LiquidEngine, nodes: LiquidNode[], environment: object): unknown {
  try {
    const json: string | undefined = JSON.stringify(engine.evaluate(nodes, environment))
    return json === undefined ? null : JSON.parse(assertOutput(json))
  } catch (error) {
    throw toStepError(error)
  }
}

function assertOutput(text: unknown): string {
  if (typeof text !== 'string')
    throw new OrchestratorError('INTERNAL', `expected Liquid to render a string, found ${typeof text}`)
  if (text.length <= TEMPLATE_LIMITS.outputLength) return text
  throw new OrchestratorError(
    'STEP_FAILED',
    `expected a prompt of at most ${TEMPLATE_LIMITS.outputLength} characters, found ${text.length}: put fewer or shorter outputs into it`,
  )
}

function toStepError(error: unknown): OrchestratorError {
  const cause = rootCause(error)
  if (OrchestratorError.is(cause)) return cause
  const position = positionOf(error)
  const variable = 'variableName' in cause ? String(cause.variableName) : undefined
  const message = variable === undefined ? cause.message : `"${variable}" has no value here`
  return new OrchestratorError('STEP_FAILED', `template: ${message}${inWords(position)}`, {
    details: { ...position, ...(variable && { variable }) },
  })
}

/** Liquid wraps an error once per level of the template. */
function rootCause(error: unknown): Error {
  let cause: unknown = error
  while (cause instanceof Error && !OrchestratorError.is(cause) && 'originalError' in cause) cause = cause.originalError
  return cause instanceof Error ? cause : new Error(String(cause))
}

function positionOf(error: unknown): SourcePosition | undefined {
  if (!(error instanceof Error) || !('token' in error)) return undefined
  const { token } = error
  if (typeof token !== 'object' || token === null || !('getPosition' in token) || typeof token.getPosition !== 'function')
    return undefined
  const [line, column] = token.getPosition()
  return { line, column }
}
