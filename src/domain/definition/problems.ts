import * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DefinitionProblem } from './flow-definition.ts'
import { findSuggestion, withSuggestion } from './suggestion.ts'

/** Maximum number of problems reported for one definition. */
const MAX_PROBLEMS = 100
/** Number of problems in the error message; `details` contain all that are reported. */
const SHOWN_PROBLEMS = 5

/**
 * A path as text: `steps[2].inputFrom`, with unusual keys quoted as in `settings["a b"]`; `definition` for an empty
 * path.
 */
export function toPathText(path: readonly PropertyKey[]): string {
  let text = ''
  for (const part of path) {
    const key = String(part)
    if (typeof part === 'number') text += `[${part}]`
    else if (!/^[\w$-]{1,100}$/.test(key)) text += `[${JSON.stringify(key.slice(0, 100))}]`
    else text += text === '' ? key : `.${key}`
  }
  return text || 'definition'
}

/** FLOW_INVALID with the problems in `details.problems`, in the order in which they were found. */
export function definitionError(problems: readonly DefinitionProblem[]): OrchestratorError {
  const lines = problems.slice(0, SHOWN_PROBLEMS).map(toLine)
  if (problems.length > SHOWN_PROBLEMS) lines.push(`and ${problems.length - SHOWN_PROBLEMS} more`)
  return new OrchestratorError('FLOW_INVALID', lines.join('\n'), { details: { problems: problems.slice(0, MAX_PROBLEMS) } })
}

function toLine(problem: DefinitionProblem): string {
  return `${toSourceLocation(problem)}${problem.path}: ${withSuggestion(problem.message, problem.suggestion)}`
}

/**
 * A location as prefix: `flows/review.yaml:12:7: `, which editors and terminals turn into a link; `12:7 ` without a
 * file name.
 */
export function toSourceLocation({ file, line, column }: Pick<DefinitionProblem, 'file' | 'line' | 'column'>): string {
  const position = line === undefined ? undefined : `${line}:${column}`
  if (file === undefined) return position === undefined ? '' : `${position} `
  return position === undefined ? `${file}: ` : `${file}:${position}: `
}

/** Converts Zod's issues to problems: what was expected, what was found, and a similar known name. */
export function toProblems(schema: z.ZodType, issues: readonly z.core.$ZodIssue[], input: unknown): DefinitionProblem[] {
  return issues.slice(0, MAX_PROBLEMS).flatMap((issue) => toIssueProblems(schema, issue, input))
}

function toIssueProblems(schema: z.ZodType, issue: z.core.$ZodIssue, input: unknown): DefinitionProblem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path)
    return issue.keys
      .slice(0, MAX_PROBLEMS)
      .map((key) => problem([...issue.path, key], 'unknown key', findSuggestion(key, known)))
  }
  const found = valueAt(input, issue.path)
  if (issue.code === 'invalid_value') {
    const names = issue.values.map(String)
    const suggestion = typeof found === 'string' ? findSuggestion(found, names) : undefined
    return [problem(issue.path, `expected one of ${names.join(', ')}, found ${inWords(found)}`, suggestion)]
  }
  if (issue.code === 'invalid_union') {
    const inner = issue.errors.flat().filter(({ code }) => code !== 'invalid_type' && code !== 'custom')
    if (inner.length > 0) {
      return inner.flatMap((one) => toIssueProblems(schema, { ...one, path: [...issue.path, ...one.path] }, input))
    }
    const own = issue.errors.flat().find(({ code }) => code === 'custom')
    return [problem(issue.path, `${own?.message ?? 'expected another value'}, found ${inWords(found)}`)]
  }
  return [problem(issue.path, `${expectation(issue)}, found ${inWords(found)}`)]
}

function problem(path: readonly PropertyKey[], message: string, suggestion?: string): DefinitionProblem {
  return { path: toPathText(path), message, ...(suggestion !== undefined && { suggestion }) }
}

/** What a value had to be, without what was found. */
export function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${issue.expected === 'int' ? 'a whole number' : issue.expected}`
    case 'too_big':
      return issue.message.startsWith('Too big')
        ? `expected ${bound(issue.inclusive, 'at most', 'less than')} ${issue.maximum}${unit(issue.origin)}`
        : issue.message
    case 'too_small':
      return issue.message.startsWith('Too small')
        ? `expected ${bound(issue.inclusive, 'at least', 'more than')} ${issue.minimum}${unit(issue.origin)}`
        : issue.message
    default:
      return issue.message
  }
}

const bound = (inclusive: boolean | undefined, orEqual: string, strictly: string): string =>
  inclusive === false ? strictly : orEqual

function unit(origin: string): string {
  if (origin === 'string') return ' characters'
  return origin === 'array' ? ' entries' : ''
}

/** A short description of a value. Long texts may be prompts, which messages must not repeat. */
function inWords(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (typeof value === 'string') return value.length <= 60 ? JSON.stringify(value) : `a text of ${value.length} characters`
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return value.length === 1 ? 'a list of 1' : `a list of ${value.length}`
  return typeof value === 'function' ? 'a function' : `a value of type ${typeof value}`
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = Reflect.get(value, part)
  }
  return value
}

/** Keys of the object schema at a path; empty if the path leads to another kind of schema. */
function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const inner = unwrap(schema)
  const [part, ...rest] = path
  if (inner instanceof z.ZodObject) {
    if (part === undefined) return Object.keys(inner.shape)
    const member: unknown = typeof part === 'string' && Object.hasOwn(inner.shape, part) ? inner.shape[part] : undefined
    return member instanceof z.ZodType ? keysAt(member, rest) : []
  }
  if (inner instanceof z.ZodArray && typeof part === 'number') return keysAt(inner.element, rest)
  return []
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.def.innerType)
  }
  return schema
}
