import type { Environment } from '@marcbachmann/cel-js'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

type Numeric = bigint | number

/** Whole and decimal numbers in one expression, which CEL has no operators for: values that models write are decimal, literals mostly are not. */
const MIXED = [
  ['int', 'double'],
  ['double', 'int'],
] as const

export function registerMixedNumbers(cel: Environment): Environment {
  for (const [left, right] of MIXED) {
    cel
      .registerOperator(`${left} + ${right}: double`, (a: Numeric, b: Numeric) => Number(a) + Number(b))
      .registerOperator(`${left} - ${right}: double`, (a: Numeric, b: Numeric) => Number(a) - Number(b))
      .registerOperator(`${left} * ${right}: double`, (a: Numeric, b: Numeric) => Number(a) * Number(b))
      .registerOperator(`${left} / ${right}: double`, (a: Numeric, b: Numeric) => Number(a) / divisor(b))
      .registerOperator(`${left} % ${right}: double`, (a: Numeric, b: Numeric) => Number(a) % divisor(b))
  }
  // Equality is registered in both directions at once.
  cel.registerOperator('list<int> == list<double>: bool', (a: readonly Numeric[], b: readonly Numeric[]) => {
    return a.length === b.length && a.every((item, index) => Number(item) === Number(b[index]))
  })
  cel.registerOperator('int == double: bool', (a: Numeric, b: Numeric) => Number(a) === Number(b))
  return cel.registerOperator('double % double: double', (a: number, b: number) => a % divisor(b))
}

function divisor(value: Numeric): number {
  if (Number(value) === 0) throw new OrchestratorError('STEP_FAILED', 'condition: it divides by zero')
  return Number(value)
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  int: 'a whole number',
  double: 'a number',
  string: 'text',
  bool: 'true or false',
  null: 'null',
  list: 'a list',
  map: 'an object',
}

const NO_OVERLOAD = /^no such overload: (\S+) (<=|>=|==|!=|<|>|\+|-|\*|\/|%|in) (.+)$/
const NUMERIC = new Set(['int', 'double'])

/** CEL's complaint about two types as a sentence that says what to write instead; every other message as it is. */
export function typesInWords(message: string): string {
  const [, left, operator, right] = NO_OVERLOAD.exec(message) ?? []
  if (left === undefined || operator === undefined || right === undefined) return message
  const types = [plainType(left), plainType(right)]
  const [first = '', second = ''] = types.map((type) => TYPE_WORDS[type] ?? type)
  const mixesText = types.includes('string') && types.some((type) => NUMERIC.has(type))
  const remedy = mixesText ? '; write double(…) around the text, or quotes around the number' : ''
  return `"${operator}" cannot be used between ${first} and ${second}${remedy}`
}

const plainType = (written: string): string => written.replace(/^dyn<(.+)>$/, '$1').replace(/<.*$/, '')
