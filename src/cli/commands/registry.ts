import type { CliCommand } from '../command.ts'
import { check } from './check.ts'
import { demo } from './demo.ts'
import { doctor } from './doctor.ts'
import { cancelFlow } from './flows/cancel.ts'
import { listFlows } from './flows/list.ts'
import { rerunFlow } from './flows/rerun.ts'
import { resumeFlow } from './flows/resume.ts'
import { showFlow } from './flows/show.ts'
import { createKey } from './keys/create.ts'
import { listKeys } from './keys/list.ts'
import { revokeKey } from './keys/revoke.ts'
import { mcp } from './mcp.ts'
import { migrate } from './migrate.ts'
import { run } from './run.ts'
import { schema } from './schema.ts'
import { serve } from './serve.ts'
import { templates } from './templates.ts'

/** All commands, in the order in which `polyphony --help` lists them. */
export const COMMANDS: readonly CliCommand[] = [
  demo,
  run,
  listFlows,
  showFlow,
  cancelFlow,
  resumeFlow,
  rerunFlow,
  createKey,
  listKeys,
  revokeKey,
  serve,
  templates,
  check,
  schema,
  doctor,
  mcp,
  migrate,
]
