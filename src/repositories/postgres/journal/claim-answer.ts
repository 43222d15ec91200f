import { FLOW_SCHEMA_VERSION, type FlowStart } from '../../../domain/execution/flow.ts'
import type { ClaimAnswer } from '../../repository.ts'
import type { JournalReply } from './journal-sql.ts'

/** `repeated`: an earlier attempt of the statement may have been written although its reply was lost. */
export function toClaimAnswer(
  claim: FlowStart,
  ownerId: string | undefined,
  reply: JournalReply | undefined,
  repeated: boolean,
): ClaimAnswer {
  if (!reply) return { status: undefined }
  if (reply[0] === 'claimed') return { epoch: reply[2] }
  if (reply[0] !== 'refused') return { status: undefined }
  const [, , epoch, status, storedOwnerId, startedMs, version] = reply
  // A queued flow may have got an owner since its statement was written.
  const isOwner = ownerId === undefined || storedOwnerId === ownerId
  const ours = status === 'RUNNING' && isOwner && startedMs === claim.startedAt.getTime()
  if (repeated && ours) return { epoch }
  const hasChanged = claim.epoch !== undefined && claim.epoch !== epoch && ({ hasChanged: true } as const)
  if (hasChanged || !claim.from.some((from) => from === status)) return { status, ...hasChanged }
  if (version > FLOW_SCHEMA_VERSION) return { status, newerVersion: version }
  // The reply shows the state before the statement: another claim was faster.
  return { status: 'RUNNING' }
}
