import { defineServiceCommand } from '../../control/service-command.ts'

/** `polyphony services start`, or `polyphony start`. */
export const startServiceCommand = defineServiceCommand({
  name: 'start',
  description: 'start a service and those it depends on; returns when it runs',
})
