import { createRequire } from 'node:module'
import type { Context, Emitter, Liquid, Template as LiquidNode, StaticAnalysis, TopLevelToken } from 'liquidjs'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { searchCost } from './conditions/search-cost.ts'
import { fence } from './fence.ts'
import { sourceError } from './source-error.ts'

type LiquidModule = typeof import('liquidjs')

/**
 * Limits of one template. They count work instead of time, so that the same template over the same values always ends
 * alike. They keep rendering to little more than 100 ms and allow real templates with megabytes of outputs.
 */
export const TEMPLATE_LIMITS = {
  /** Characters of the source. */
  sourceLength: 200_000,
  /** `{{` and `{%` marks in the source. */
  marks: 500,
  /** Characters inside one pair of marks: Liquid sorts operators in quadratic time. */
  markLength: 1_000,
  /** Characters inside all marks. */
  codeLength: 10_000,
  /** Characters of the source times characters inside marks: Liquid counts lines from the start for each variable. */
  codeTimesSource: 300_000_000,
  /** Texts, values and tags that are rendered; those in a loop count once per iteration. */
  nodes: 100_000,
  /** Characters and list entries that filters, ranges and captures may create. */
  memory: 10_000_000,
  /** Additional memory counted for each entry of a list that a filter iterates: sorting 50,000 entries takes 20 ms. */
  memoryPerEntry: 100,
  /** Additional memory counted for each character that a filter may turn into a list entry. */
  memoryPerPart: 4,
  /** Characters of the rendered prompt. */
  outputLength: 10_000_000,
} as const

const TAGS = ['assign', 'capture', 'case', 'comment', 'if', 'unless', 'for', 'break', 'continue', 'raw', '#']

const LIST_FILTERS = ['join', 'reverse', 'sort', 'map', 'sum', 'compact', 'concat', 'where', 'uniq']
const PART_FILTERS = ['split', 'replace', 'replace_first', 'remove', 'remove_first', 'truncatewords']

const FILTERS = [
  ...LIST_FILTERS,
  ...PART_FILTERS,
  ...['abs', 'at_least', 'at_most', 'ceil', 'divided_by', 'floor', 'minus', 'plus', 'modulo', 'times', 'round'],
  ...['last', 'first', 'size', 'slice'],
  ...['append', 'prepend', 'strip', 'lstrip', 'rstrip', 'downcase', 'upcase', 'capitalize'],
  ...['strip_newlines', 'truncate', 'default', 'json', 'escape'],
]

export interface LiquidEngine {
  /** Parses a template. Throws errors of Liquid, and FLOW_INVALID if the source exceeds a limit. */
  parse(source: string): LiquidNode[]
  analyze(nodes: LiquidNode[]): StaticAnalysis
  render(nodes: LiquidNode[], environment: object): unknown
  /** The value of the last output, without converting it to text. */
  evaluate(nodes: LiquidNode[], environment: object): unknown
}

/** Creates a Liquid engine that has no access to files, prototypes or clocks and rejects unknown names. */
export function createLiquid(): LiquidEngine {
  const liquidjs = loadLiquid()
  const liquid = new liquidjs.Liquid({
    templates: {},
    ownPropertyOnly: true,
    strictVariables: true,
    strictFilters: true,
    lenientIf: true,
    operators: {
      ...liquidjs.defaultOperators,
      contains: (text: unknown, pattern: unknown, context) => {
        context.memoryLimit.use(searchCost(text, pattern))
        return liquidjs.defaultOperators.contains?.(text, pattern, context) ?? false
      },
    },
  })
  keepOnly(liquid.tags, TAGS)
  keepOnly(liquid.filters, FILTERS)
  liquid.registerFilter('fence', (text: unknown, label: unknown) =>
    fence(text === undefined || text === null ? '' : String(text), label === undefined ? undefined : String(label)),
  )
  for (const name of LIST_FILTERS) chargeMore(liquid, name, TEMPLATE_LIMITS.memoryPerEntry)
  for (const name of PART_FILTERS) chargeMore(liquid, name, TEMPLATE_LIMITS.memoryPerPart)
  liquid.registerTag('capture', boundedCapture(liquidjs))
  const run = (nodes: LiquidNode[], environment: object, emitter: Emitter): unknown => {
    const context = new liquidjs.Context(environment, liquid.options, { sync: true }, { liquid })
    measure(context)
    return liquidjs.toValueSync(liquid.renderer.renderTemplates(nodes, context, emitter))
  }
  return {
    parse(source) {
      assertAtMost(TEMPLATE_LIMITS.sourceLength, source.length, 'characters')
      const tokens = new liquidjs.Tokenizer(source, liquid.options.operators).readTopLevelTokens(liquid.options)
      const marks = tokens.filter((token) => !liquidjs.TypeGuards.isHTMLToken(token))
      assertMarks(source, marks)
      return new liquidjs.Parser(liquid).parseTokens(tokens)
    },
    analyze: (nodes) => liquid.analyzeSync(nodes, { partials: false }),
    render: (nodes, environment) => run(nodes, environment, meteredEmitter(chargeOutput())),
    evaluate(nodes, environment) {
      let value: unknown
      run(nodes, environment, {
        write(output: unknown) {
          value = output
        },
        buffer: '',
      })
      return value
    },
  }
}

/** Rejects sources that Liquid would take long to parse. */
function assertMarks(source: string, marks: readonly TopLevelToken[]): void {
  assertAtMost(TEMPLATE_LIMITS.marks, marks.length, 'marks "{{" and "{%"')
  let code = 0
  for (const { begin, end } of marks) {
    assertAtMost(TEMPLATE_LIMITS.markLength, end - begin, 'characters from "{{" to "}}" or "{%" to "%}"')
    code += end - begin
  }
  const allowed = Math.min(TEMPLATE_LIMITS.codeLength, Math.floor(TEMPLATE_LIMITS.codeTimesSource / source.length))
  assertAtMost(allowed, code, `characters inside marks in a template of ${source.length}`)
}

function assertAtMost(limit: number, found: number, unit: string): void {
  if (found > limit) throw sourceError(`expected at most ${limit} ${unit}, found ${found}`)
}

/**
 * Loaded by `require` at the first template: 7 ms instead of the 22 ms of `import` (liquidjs 10.30.1 is CommonJS, Node
 * 20.20, November 2026).
 */
const loadLiquid = (): LiquidModule => createRequire(import.meta.url)('liquidjs')

function keepOnly(table: Record<string, unknown>, names: readonly string[]): void {
  for (const name of Object.keys(table)) if (!names.includes(name)) delete table[name]
}

/** Liquid counts only the size of a filter's result, which is far below the time that lists take. */
function chargeMore(liquid: Liquid, name: string, perUnit: number): void {
  const filter = liquid.filters[name]
  if (typeof filter !== 'function') throw new OrchestratorError('INTERNAL', `expected Liquid to have a filter "${name}"`)
  liquid.registerFilter(name, function (value: unknown, ...options: unknown[]) {
    const units = Array.isArray(value) || typeof value === 'string' ? value.length : 0
    this.context.memoryLimit.use(units * perUnit + searchCost(value, options[0]))
    return filter.call(this, value, ...options)
  })
}

/** Replaces Liquid's limits, whose errors name no limit and which measure time by the clock, with counts. */
function measure(context: Context): void {
  let memory = 0
  let nodes = 0
  context.memoryLimit.use = (count) => {
    memory += Math.max(0, Number(count)) || 0
    if (memory > TEMPLATE_LIMITS.memory) throw overLimit('memory', 'characters that filters and captures create', memory, SHORTEN)
  }
  // Liquid reads the time before it renders a node.
  context.renderLimit.check = () => {
    if (++nodes > TEMPLATE_LIMITS.nodes) throw overLimit('nodes', 'texts, values and tags', nodes, 'loop over fewer entries')
  }
}

const SHORTEN = 'filter less at once, or shorten what is filtered with contextPolicy.maxSharedTokens'

function chargeOutput(): (characters: number) => void {
  let length = 0
  return (characters) => {
    length += characters
    if (length > TEMPLATE_LIMITS.outputLength)
      throw overLimit('outputLength', 'characters of prompt', length, 'put fewer or shorter outputs into it')
  }
}

function overLimit(limit: 'memory' | 'nodes' | 'outputLength', unit: string, found: number, remedy: string): OrchestratorError {
  const max = TEMPLATE_LIMITS[limit]
  const message = `template: expected at most ${max} ${unit}, found at least ${Math.ceil(found)}: ${remedy}`
  return new OrchestratorError('STEP_FAILED', message, { details: { limit, max } })
}

function meteredEmitter(charge: (characters: number) => void): Emitter {
  let buffer = ''
  return {
    write(value: unknown) {
      const text = typeof value === 'string' ? value : toText(value)
      charge(text.length)
      buffer += text
    },
    get buffer() {
      return buffer
    },
  }
}

/** The text that Liquid renders for a value: empty for a missing one, lists without commas. */
function toText(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (Array.isArray(value)) return value.map(toText).join('')
  return String(value)
}

/** Liquid does not count captured text, which a loop can double in each iteration. */
const boundedCapture = ({ CaptureTag }: LiquidModule) =>
  class extends CaptureTag {
    override *render(context: Context): Generator<unknown, void, string> {
      const emitter = meteredEmitter((characters) => context.memoryLimit.use(characters))
      yield this.liquid.renderer.renderTemplates(this.templates, context, emitter)
      const text = emitter.buffer
      context.bottom()[this.variable] = text
    }
  }
