import { defineServiceCommand } from '../../control/service-command.ts'

/** `polyphony services stop`, or `polyphony stop`. */
export const stopServiceCommand = defineServiceCommand({
  name: 'stop',
  description: 'stop a service; returns when nothing of it runs',
})
