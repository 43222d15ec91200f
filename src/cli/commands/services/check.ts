import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { defineCommand, jsonOption } from '../../command.ts'
import { type DataDirOptions, dataDirOption, toServiceFlags } from '../../control/service-command.ts'
import { toPlainLine } from '../../plain-text.ts'

/** `polyphony services check`: reads the files itself, so that no server must run. */
export const checkServicesCommand = defineCommand<DataDirOptions>({
  group: 'services',
  name: 'check',
  description: 'check the service files: form, program, folder, port, limits; no server is needed',
  configure: (command) =>
    command.option('--services <directory>', 'folder of the service files').addOption(dataDirOption()).addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const findings = await services.checkServices(await services.loadConfig(toServiceFlags(options)))
    for (const finding of findings) {
      if (json) terminal.printJson(finding)
      else {
        const { service, ok, warning, message } = finding
        const passed = warning ? terminal.style('yellow', '!') : terminal.style('green', '✔')
        terminal.print(`${ok ? passed : terminal.style('red', '✖')} ${toPlainLine(service)}: ${toPlainLine(message)}`)
      }
    }
    if (findings.length === 0 && !json) terminal.print('No service files were found.')
    const failed = findings.filter(({ ok }) => !ok)
    if (failed.length > 0) {
      throw new OrchestratorError('SERVICE_INVALID', `${failed.length} of ${findings.length} checks failed`, {
        details: { services: failed.map(({ service }) => service) },
      })
    }
  },
})
