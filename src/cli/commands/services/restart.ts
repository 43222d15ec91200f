import { defineServiceCommand } from '../../control/service-command.ts'

/** `polyphony services restart`, or `polyphony restart`. */
export const restartServiceCommand = defineServiceCommand({
  name: 'restart',
  description: 'stop and start a service; returns when it runs again',
})
