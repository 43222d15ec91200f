import type { CliCommand } from '../command.ts'
import { budgetsCommand } from './budgets.ts'
import { checkCommand } from './check.ts'
import { demoCommand } from './demo.ts'
import { doctorCommand } from './doctor.ts'
import { eventsCommand } from './events.ts'
import { exportCommand } from './export.ts'
import { approveCommand } from './flows/approve.ts'
import { cancelFlowCommand } from './flows/cancel.ts'
import { listFlowsCommand } from './flows/list.ts'
import { rejectCommand } from './flows/reject.ts'
import { rerunFlowCommand } from './flows/rerun.ts'
import { resumeFlowCommand } from './flows/resume.ts'
import { showFlowCommand } from './flows/show.ts'
import { signalEventCommand } from './flows/signal-event.ts'
import { waitingCommand } from './flows/waiting.ts'
import { importCommand } from './import.ts'
import { createKeyCommand } from './keys/create.ts'
import { listKeysCommand } from './keys/list.ts'
import { revokeKeyCommand } from './keys/revoke.ts'
import { migrateCommand } from './migrate.ts'
import { runCommand } from './run.ts'
import { schedulesCommand } from './schedules.ts'
import { schemaCommand } from './schema.ts'
import { checkServicesCommand } from './services/check.ts'
import { listServicesCommand } from './services/list.ts'
import { serviceLogsCommand } from './services/logs.ts'
import { reloadServicesCommand } from './services/reload.ts'
import { restartServiceCommand } from './services/restart.ts'
import { runServiceCommand } from './services/run.ts'
import { showServiceCommand } from './services/show.ts'
import { startServiceCommand } from './services/start.ts'
import { stopServiceCommand } from './services/stop.ts'
import { downCommand } from './serving/down.ts'
import { mcpCommand } from './serving/mcp.ts'
import { serveCommand } from './serving/serve.ts'
import { statusCommand } from './serving/status.ts'
import { upCommand } from './serving/up.ts'
import { workerCommand } from './serving/worker.ts'
import { templatesCommand } from './templates.ts'
import { webhooksCommand } from './webhooks.ts'

/** All commands, in the order in which `polyphony --help` lists them. */
export const COMMANDS: readonly CliCommand[] = [
  demoCommand,
  runCommand,
  listFlowsCommand,
  showFlowCommand,
  cancelFlowCommand,
  resumeFlowCommand,
  rerunFlowCommand,
  waitingCommand,
  approveCommand,
  rejectCommand,
  signalEventCommand,
  createKeyCommand,
  listKeysCommand,
  revokeKeyCommand,
  budgetsCommand,
  eventsCommand,
  serveCommand,
  upCommand,
  downCommand,
  statusCommand,
  listServicesCommand,
  showServiceCommand,
  startServiceCommand,
  stopServiceCommand,
  restartServiceCommand,
  serviceLogsCommand,
  checkServicesCommand,
  reloadServicesCommand,
  runServiceCommand,
  webhooksCommand,
  schedulesCommand,
  workerCommand,
  templatesCommand,
  checkCommand,
  schemaCommand,
  doctorCommand,
  mcpCommand,
  migrateCommand,
  exportCommand,
  importCommand,
]
