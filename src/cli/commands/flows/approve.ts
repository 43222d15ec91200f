import { defineCommand } from '../../command.ts'
import { configureDecision, type DecideOptions, decideStep } from '../../decide-step.ts'

/** `polyphony flows approve <flow> <step>`. */
export const approveCommand = defineCommand<DecideOptions>({
  group: 'flows',
  name: 'approve',
  description: 'approve a step that waits; the flow continues and is shown to its end',
  configure: (command) => configureDecision(command).option('--edit <text>', 'replace the text that the step shows'),
  run: (context, options, flowId, path = '') => decideStep(context, options, { flowId, path, approved: true }),
})
