import type { ASTNode } from '@marcbachmann/cel-js'

const isSteps = (node: ASTNode): boolean => node.op === 'id' && node.args === 'steps'

export const isStepAccess = (node: ASTNode): boolean => stepAccess(node) !== undefined

/** The step that a node reads: its id, or `computed` if the key is not a constant. */
export function stepAccess(node: ASTNode): { readonly id: string } | 'computed' | undefined {
  if (node.op === '.' && isSteps(node.args[0])) return { id: node.args[1] }
  if (node.op !== '[]' || !isSteps(node.args[0])) return undefined
  const key = node.args[1]
  return key.op === 'value' && typeof key.args === 'string' ? { id: key.args } : 'computed'
}

export function children(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return []
    case '.':
    case '.?':
      return [node.args[0]]
    case 'call':
      return node.args[1]
    case 'rcall':
      return [node.args[1], ...node.args[2]]
    case 'list':
      return node.args
    case 'map':
      return node.args.flat()
    case '!_':
    case '-_':
      return [node.args]
    default:
      return node.args
  }
}

/** The step whose missing output or field stopped an evaluation; `undefined` if something else stopped it. */
export function stepRead(node: unknown): ReturnType<typeof stepAccess> {
  if (!isNode(node)) return undefined
  const own = stepAccess(node)
  if (own) return own
  return node.op === '.' || node.op === '[]' ? stepAccess(node.args[0]) : undefined
}

const isNode = (value: unknown): value is ASTNode =>
  typeof value === 'object' && value !== null && 'op' in value && 'args' in value
