import { join } from 'node:path'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { readServerFile } from '../../../system/server-file.ts'
import { defineCommand, jsonOption } from '../../command.ts'
import { readLastLines, readRunRecords } from '../../control/left-files.ts'
import { createControl, dataDirOf, findServer, logDirOf } from '../../control/server-connection.ts'
import { type DataDirOptions, dataDirOption, toServiceFlags } from '../../control/service-command.ts'
import { printServices } from '../../control/service-table.ts'
import { toPlainLine } from '../../plain-text.ts'

const SHOWN_LINES = 5

/** `polyphony status`: from the server, or from its files where it does not run. */
export const statusCommand = defineCommand<DataDirOptions>({
  name: 'status',
  description: 'show the server and its services with pids, health and the last lines of their logs',
  configure: (command) => command.addOption(dataDirOption()).addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const config = await services.loadConfig(toServiceFlags(options))
    const [dataDir, logDir] = [dataDirOf(config), logDirOf(config)]
    const server = findServer(dataDir)
    const reports = server ? await createControl(server).list() : []
    const left = server ? [] : readRunRecords(dataDir)
    const logs = ['orchestrator', ...[...reports, ...left].map(({ id }) => id)].map((id) => ({
      id,
      lines: readLastLines(join(logDir, `${id}.log`), SHOWN_LINES),
    }))
    if (json) {
      const facts = server && { url: server.url, pid: server.pid, ready: server.ready }
      terminal.printJson({ type: 'status', running: server !== undefined, server: facts, services: reports, left, logs })
    } else {
      terminal.print(server ? `The server runs at ${server.url}, pid ${server.pid}.` : describeAbsence(dataDir))
      if (reports.length > 0) printServices(terminal, reports)
      for (const { id, pid, isRunning } of left)
        terminal.print(`${id}: pid ${pid ?? 'unknown'}, ${isRunning ? 'still runs' : 'has ended'}`)
      for (const { id, lines } of logs) {
        if (lines.length === 0) continue
        terminal.print(terminal.style('dim', `${id}.log`))
        for (const line of lines) terminal.print(`  ${toPlainLine(line)}`)
      }
    }
    if (!server) throw new OrchestratorError('SERVER_NOT_RUNNING', `no server with its files in ${dataDir} runs`)
  },
})

function describeAbsence(dataDir: string): string {
  const last = readServerFile(dataDir)
  return last ? `The server ${last.pid} does not run any more.` : 'No server runs.'
}
