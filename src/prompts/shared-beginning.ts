import { isDeepStrictEqual } from 'node:util'
import { isPool } from '../domain/definition/call/pools.ts'
import type { FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import { isRunStep } from '../domain/tools/tool-fields.ts'
import { isWaitingStep } from '../domain/waiting/waiting-steps.ts'
import { stepPlanOf } from './step-plan.ts'
import { stepReferences } from './step-references.ts'
import { compileTemplate } from './template.ts'

/** How the request of a step begins like others of its flow, as far as the definition decides it. */
export interface SharedBeginning {
  /** Beginnings of its prompt template that other requests have with the same values, shortest first. */
  readonly sources: readonly string[]
  /**
   * What else is equal: all that is before the instruction of a step without a prompt, or the whole content. Undefined:
   * nothing.
   */
  readonly upTo?: 'instruction' | 'end'
}

/** The facts about a flow type that decide which requests begin alike; each executor satisfies this interface. */
export interface BeginningRules {
  calls(definition: FlowDefinition): readonly { readonly stepId: string; readonly max: number }[]
  loop?(definition: FlowDefinition): readonly string[]
  implicitInputs?(definition: FlowDefinition): readonly { readonly from: string; readonly to: string }[]
  verdicts?(definition: FlowDefinition): readonly string[]
}

const known = new WeakMap<FlowDefinition, Map<string, SharedBeginning | undefined>>()

/**
 * Finds how a step's request begins like other requests of the flow to the same model: those of other steps, of later
 * iterations, and of its samples. Undefined if no other request has its model, system prompt, tools and schema. It is a
 * forecast, since steps may be skipped, and changes no text. Computed once per definition object and step.
 */
export function sharedBeginning(definition: FlowDefinition, rules: BeginningRules, step: FlowStep): SharedBeginning | undefined {
  const found = known.get(definition) ?? new Map<string, SharedBeginning | undefined>()
  known.set(definition, found)
  if (!found.has(step.id)) found.set(step.id, find(definition, rules, step))
  return found.get(step.id)
}

function find(definition: FlowDefinition, rules: BeginningRules, step: FlowStep): SharedBeginning | undefined {
  const facts = factsOf(definition, rules)
  const sources = new Set<string>()
  const ends = new Set<SharedBeginning['upTo']>()
  let isShared = false
  for (const other of definition.steps) {
    if (!isAlike(step, other, facts)) continue
    isShared = true
    const { source, upTo } = compare(definition, step, other, facts)
    if (source.trim() !== '') sources.add(source)
    ends.add(upTo)
  }
  if (!isShared) return undefined
  const upTo = ends.has('end') ? 'end' : ends.has('instruction') ? 'instruction' : undefined
  return { sources: [...sources].sort((a, b) => a.length - b.length), upTo }
}

interface FlowFacts {
  readonly repeating: ReadonlySet<string>
  readonly loop: ReadonlySet<string>
  readonly verdicts: ReadonlySet<string>
  readonly given: ReadonlyMap<string, readonly string[]>
}

function factsOf(definition: FlowDefinition, rules: BeginningRules): FlowFacts {
  const given = new Map<string, string[]>()
  for (const { from, to } of rules.implicitInputs?.(definition) ?? []) given.set(to, [...(given.get(to) ?? []), from])
  return {
    repeating: new Set(rules.calls(definition).flatMap(({ stepId, max }) => (max > 1 ? [stepId] : []))),
    loop: new Set(rules.loop?.(definition)),
    verdicts: new Set(rules.verdicts?.(definition)),
    given,
  }
}

/** Whether the requests of two steps, or two requests of one step, may be equal up to a part of the last message. */
function isAlike(step: FlowStep, other: FlowStep, facts: FlowFacts): boolean {
  if (step === other && !facts.repeating.has(step.id) && (step.samples ?? 1) === 1) return false
  if (step.provider !== other.provider || step.model !== other.model) return false
  if (!hasText(step) || !hasText(other) || step.system !== other.system) return false
  if (facts.verdicts.has(step.id) !== facts.verdicts.has(other.id)) return false
  return isDeepStrictEqual(beginningFields(step), beginningFields(other))
}

/** Whether a model gets texts whose sources are known before the step runs. */
const hasText = (step: FlowStep): boolean =>
  !isRunStep(step) &&
  !isWaitingStep(step) &&
  !isPool(step) &&
  typeof step.prompt !== 'function' &&
  typeof step.system !== 'function' &&
  (step.system === undefined || isConstant(step.system))

const isConstant = (source: string): boolean =>
  split(source).every((part) => !isMark(part) || (part.startsWith('{{') && isOriginal(part)))

const isOriginal = (mark: string): boolean => {
  const { original, input, previous, steps, allSteps, history, metadata } = compileTemplate(mark).references
  return original && !input && !previous && steps.length === 0 && !allSteps && !history && !metadata
}

/** What vendors put before the messages, or what they cache messages with. */
const beginningFields = ({ tools, toolChoice, outputSchema, settings }: FlowStep) => [
  tools,
  toolChoice,
  outputSchema,
  settings?.reasoning,
]

function compare(
  definition: FlowDefinition,
  step: FlowStep,
  other: FlowStep,
  facts: FlowFacts,
): { readonly source: string; readonly upTo: SharedBeginning['upTo'] } {
  // Samples differ in nothing.
  if (step === other && (step.samples ?? 1) > 1) return { source: '', upTo: 'end' }
  const inputIsEqual = hasEqualInput(definition, step, other, facts)
  if (step.prompt === undefined && other.prompt === undefined) {
    const upTo = step.action === other.action ? 'end' : 'instruction'
    return { source: '', upTo: inputIsEqual ? upTo : undefined }
  }
  const parts = partsOf(step)
  const others = partsOf(other)
  const isEqual = (mark: string) => mark.startsWith('{{') && hasEqualValue(mark, step === other, inputIsEqual, facts)
  let source = ''
  for (const [index, part] of parts.entries()) {
    const same = others[index]
    if (part !== same || (isMark(part) && !isEqual(part))) {
      if (same !== undefined && !isMark(part) && !isMark(same)) source += commonLines(part, same)
      return { source, upTo: undefined }
    }
    source += part
  }
  return { source, upTo: parts.length === others.length && inputIsEqual ? 'end' : undefined }
}

/** `undefined` never equals a prompt: the instruction of such a step comes last. */
const sourceOf = ({ prompt }: FlowStep): string =>
  prompt === 'original' ? '{{ original }}' : typeof prompt === 'string' ? prompt : ''

const divided = new WeakMap<FlowStep, readonly string[]>()

/** The parts of its prompt. Divided once per step, since every step is compared with all others. */
function partsOf(step: FlowStep): readonly string[] {
  const parts = divided.get(step) ?? split(sourceOf(step))
  divided.set(step, parts)
  return parts
}

/** An output ends at the first `}}` that is not quoted, as Liquid reads it. */
const MARK = /(\{\{(?:"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|[^"'}]|\}(?!\}))*\}\}|\{%[\s\S]*?%\})/

const split = (source: string): readonly string[] => source.split(MARK).filter((part) => part !== '')

const isMark = (part: string): boolean => part.startsWith('{{') || part.startsWith('{%')

function hasEqualValue(mark: string, isItself: boolean, inputIsEqual: boolean, { loop }: FlowFacts): boolean {
  const { input, previous, allSteps, steps } = compileTemplate(mark).references
  if (previous || allSteps || (input && !inputIsEqual)) return false
  // The next iteration sees other outputs of the loop.
  return !isItself || (!/\biteration\b/.test(mark) && !steps.some((id) => loop.has(id)))
}

function hasEqualInput(definition: FlowDefinition, step: FlowStep, other: FlowStep, { given, loop }: FlowFacts): boolean {
  const [own, others] = [given.get(step.id), given.get(other.id)]
  if (own || others) return step !== other && own !== undefined && own.some((from) => others?.includes(from))
  const [rule, otherRule] = [stepPlanOf(definition, step).input, stepPlanOf(definition, other).input]
  if (rule.from !== otherRule.from || stepReferences(step).previous) return false
  if (rule.from !== 'none' && rule.from !== 'named' && rule.from !== 'dependencies') return false
  const ids = [...rule.stepIds]
  return (
    ids.length === otherRule.stepIds.size && ids.every((id) => otherRule.stepIds.has(id) && !(step === other && loop.has(id)))
  )
}

/** The common beginning of two texts up to the end of a line, so that no word is divided. */
function commonLines(one: string, other: string): string {
  let end = 0
  while (end < one.length && one[end] === other[end]) end++
  return one.slice(0, one.lastIndexOf('\n', end - 1) + 1)
}
