import type { CallerTool } from './caller-tools.ts'
import { toForeignCheck } from './operation-schema.ts'

/** Caller tools as operations: a model offers them as any other, and its arguments are checked against their schema. */
export const toCallerOperations = (tools: readonly CallerTool[]) =>
  tools.map(({ name, description, parameters }) => ({
    name,
    ...(description !== undefined && { description }),
    input: parameters,
    idempotent: true,
    approval: false,
    expose: 'api' as const,
    check: toForeignCheck(parameters, 'arguments'),
  }))
