import type { StoredWait } from '../../domain/waiting/wait.ts'
import type { ColumnsOf, RowOf } from './column.ts'

/** A step that waits, with its end. */
export type WaitRow = RowOf<Omit<StoredWait, 'schema' | 'decision' | 'assignees'>> & {
  readonly assignees: string[] | null
  readonly schema: object | null
  readonly decision: object | null
}

export const WAIT_COLUMNS = {
  flowId: { name: 'flow_id', type: 'uuid', primary: true },
  path: { name: 'path', type: 'text', primary: true },
  iteration: { name: 'iteration', type: 'integer', primary: true },
  threadId: { name: 'thread_id', type: 'text' },
  kind: { name: 'kind', type: 'text' },
  hash: { name: 'hash', type: 'text' },
  since: { name: 'since', type: 'timestamptz' },
  deadline: { name: 'deadline', type: 'timestamptz', nullable: true },
  onTimeout: { name: 'on_timeout', type: 'text', nullable: true },
  event: { name: 'event', type: 'text', nullable: true },
  correlation: { name: 'correlation', type: 'text', nullable: true },
  prompt: { name: 'prompt', type: 'text', nullable: true },
  show: { name: 'show', type: 'text', nullable: true },
  schema: { name: 'schema', type: 'json', nullable: true },
  assignees: { name: 'assignees', type: 'text', array: true, nullable: true, jsonType: 'text[]' },
  decision: { name: 'decision', type: 'json', nullable: true },
  decidedBy: { name: 'decided_by', type: 'text', nullable: true },
  decidedAt: { name: 'decided_at', type: 'timestamptz', nullable: true },
} as const satisfies ColumnsOf<WaitRow>
