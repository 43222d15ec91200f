import { defineCommand } from '../../command.ts'
import { configureDecision, type DecideOptions, decideStep } from '../../decide-step.ts'

/** `polyphony flows reject <flow> <step>`. */
export const rejectCommand = defineCommand<DecideOptions>({
  group: 'flows',
  name: 'reject',
  description: 'reject a step that waits; the flow continues and is shown to its end',
  configure: configureDecision,
  run: (context, options, flowId, path = '') => decideStep(context, options, { flowId, path, approved: false }),
})
