import { createHash } from 'node:crypto'

const ID = /^call_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_[0-9a-f]{16}$/

/** Id of one call of a caller tool, at most 64 characters: of its flow, and of its address within it. */
export const toCallerCallId = (flowId: string, path: string, iteration: number): string =>
  `call_${flowId}_${createHash('sha256').update(`${path}#${iteration}`).digest('hex').slice(0, 16)}`

/** The flow of a call; undefined for other text. */
export const flowOfCallerCall = (id: string): string | undefined => ID.exec(id)?.[1]
