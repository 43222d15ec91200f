import type { ASTNode, Environment } from '@marcbachmann/cel-js'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { children } from './cel-nodes.ts'

type Numeric = bigint | number

/**
 * Operators for whole and decimal numbers in one expression. CEL does not define any, but numbers from models are
 * decimals, while literals are mostly whole numbers.
 */
const MIXED = [
  ['int', 'double'],
  ['double', 'int'],
] as const

/** Function that wraps each divisor, because CEL divides decimals by zero without an error. */
const DIVISOR = 'divisor'

export function registerMixedNumbers(cel: Environment): Environment {
  for (const [left, right] of MIXED) {
    cel
      .registerOperator(`${left} + ${right}: double`, (a: Numeric, b: Numeric) => Number(a) + Number(b))
      .registerOperator(`${left} - ${right}: double`, (a: Numeric, b: Numeric) => Number(a) - Number(b))
      .registerOperator(`${left} * ${right}: double`, (a: Numeric, b: Numeric) => Number(a) * Number(b))
      .registerOperator(`${left} / ${right}: double`, (a: Numeric, b: Numeric) => Number(a) / Number(b))
      .registerOperator(`${left} % ${right}: double`, (a: Numeric, b: Numeric) => Number(a) % Number(b))
  }
  // One registration of equality covers both directions.
  cel.registerOperator('int == double: bool', (a: Numeric, b: Numeric) => Number(a) === Number(b))
  cel.registerFunction(`${DIVISOR}(dyn): dyn`, assertDivisor)
  return cel.registerOperator('double % double: double', (a: number, b: number) => a % b)
}

function assertDivisor(value: unknown): unknown {
  if (value === 0 || value === 0n) throw new OrchestratorError('STEP_FAILED', 'condition: it divides by zero')
  return value
}

/**
 * Converts numbers to one type where CEL requires it: in lists, in objects and in the two results of `?:`. Divisors are
 * checked when their values are known. Changes the expression in place, which must not have been type-checked before.
 */
export function joinNumbers(cel: Environment, node: ASTNode): void {
  for (const child of children(node)) joinNumbers(cel, child)
  const wrap = (name: string, inner: ASTNode): ASTNode => {
    const call = cel.parse(`${name}(0)`).ast
    if (call.op === 'call') call.args[1][0] = inner
    return call
  }
  const untyped = (inner: ASTNode) => (isNumber(inner) ? wrap('dyn', inner) : inner)
  if (node.op === 'list') for (const [index, item] of node.args.entries()) node.args[index] = untyped(item)
  if (node.op === 'map') for (const entry of node.args) entry[1] = untyped(entry[1])
  if (node.op === '?:' && isNumber(node)) {
    node.args[1] = untyped(node.args[1])
    node.args[2] = untyped(node.args[2])
  }
  if ((node.op === '/' || node.op === '%') && !isNonZero(node.args[1])) node.args[1] = wrap(DIVISOR, node.args[1])
}

const NUMBER_CALLS: ReadonlySet<string> = new Set(['size', 'int', 'double'])
const ARITHMETIC: ReadonlySet<string> = new Set(['+', '-', '*', '/', '%'])

const isNumeric = (value: unknown): value is Numeric => typeof value === 'bigint' || typeof value === 'number'

/** Whether an expression is a number by its form alone. */
export function isNumber(node: ASTNode): boolean {
  if (node.op === 'value') return isNumeric(node.args)
  if (node.op === 'id') return node.args === 'iteration'
  if (node.op === 'call') return NUMBER_CALLS.has(node.args[0]) || (node.args[0] === 'dyn' && node.args[1].every(isNumber))
  if (node.op === 'rcall') return node.args[0] === 'size'
  if (node.op === '-_') return true
  if (node.op === '?:') return isNumber(node.args[1]) && isNumber(node.args[2])
  return ARITHMETIC.has(node.op) && children(node).some(isNumber)
}

const isNonZero = ({ op, args }: ASTNode): boolean => op === 'value' && isNumeric(args) && Number(args) !== 0

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

/**
 * Turns CEL's message about two types into one that says how to write the comparison; leaves every other message
 * unchanged.
 */
export function typesInWords(message: string): string {
  const [, left, operator, right] = NO_OVERLOAD.exec(message) ?? []
  if (left === undefined || operator === undefined || right === undefined) return message
  const types = [plainType(left), plainType(right)]
  const [first = '', second = ''] = types.map((type) => TYPE_WORDS[type] ?? type)
  const mixesText = types.includes('string') && types.some((type) => NUMERIC.has(type))
  const remedy = mixesText ? '; write double(…) around the text, or quotes around the number' : ''
  return `"${operator}" cannot be used between ${first} and ${second}${remedy}`
}

const plainType = (type: string): string => type.replace(/^dyn<(.+)>$/, '$1').replace(/<.*$/, '')
