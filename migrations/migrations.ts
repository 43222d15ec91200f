import { CreatePolyphony1763596800000 } from './1763596800000-create-polyphony.ts'
import { ServeCallers1764201600000 } from './1764201600000-serve-callers.ts'
import { KeepRunOptions1764288000000 } from './1764288000000-keep-run-options.ts'
import { KeepOutputsApart1764374400000 } from './1764374400000-keep-outputs-apart.ts'
import { QueueFlows1764460800000 } from './1764460800000-queue-flows.ts'
import { KeepWaits1764547200000 } from './1764547200000-keep-waits.ts'
import { CountSpending1764720000000 } from './1764720000000-count-spending.ts'
import { DeliverWebhooks1764806400000 } from './1764806400000-deliver-webhooks.ts'
import { AddressByPath1764892800000 } from './1764892800000-address-by-path.ts'
import { KeepFiles1764979200000 } from './1764979200000-keep-files.ts'
import { MarkCachedAttempts1765065600000 } from './1765065600000-mark-cached-attempts.ts'
import { RecordTurns1765152000000 } from './1765152000000-record-turns.ts'
import { LogEvents1765238400000 } from './1765238400000-log-events.ts'
import { FindEventsBySubject1765324800000 } from './1765324800000-find-events-by-subject.ts'
import { AdvertiseServices1765411200000 } from './1765411200000-advertise-services.ts'

/** All migrations, the oldest first. */
export const MIGRATIONS = [
  CreatePolyphony1763596800000,
  ServeCallers1764201600000,
  KeepRunOptions1764288000000,
  KeepOutputsApart1764374400000,
  QueueFlows1764460800000,
  KeepWaits1764547200000,
  CountSpending1764720000000,
  DeliverWebhooks1764806400000,
  AddressByPath1764892800000,
  KeepFiles1764979200000,
  MarkCachedAttempts1765065600000,
  RecordTurns1765152000000,
  LogEvents1765238400000,
  FindEventsBySubject1765324800000,
  AdvertiseServices1765411200000,
] as const
