import type { WebhookReport } from '../../orchestrator/webhooks/webhook-service.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { toMinute, toPlainLine } from '../plain-text.ts'
import { type DatabaseOptions, toFlags, withServices } from '../services.ts'

interface WebhooksOptions extends DatabaseOptions {
  readonly retry?: boolean
}

/** `polyphony webhooks`: the webhooks of the configuration with their secrets and the state of their deliveries. */
export const webhooksCommand = defineCommand<WebhooksOptions>({
  name: 'webhooks',
  description: 'list webhooks: events, secret, queued and failed deliveries',
  configure: (command) =>
    command
      .option('--retry', 'queue failed deliveries again and enable webhooks that the receiver has ended with 410')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options) {
    const { terminal, json } = context
    const webhooks = await withServices(context, toFlags(options), async (open) => {
      if (options.retry) await open.webhooks.retry()
      return open.webhooks.list()
    })
    if (json) return webhooks.forEach(terminal.printJson)
    if (webhooks.length === 0) return terminal.print('No webhooks: `webhooks` in polyphony.yaml lists them.')
    for (const webhook of webhooks) {
      terminal.print(toPlainLine(webhook.url))
      for (const [name, value] of toFacts(webhook)) terminal.print(`  ${terminal.style('dim', name.padEnd(10))} ${value}`)
    }
  },
})

const toFacts = ({ events, secret, queued, failed, lastProblem, disabledAt }: WebhookReport): readonly [string, string][] => [
  ['events', events.join(' ')],
  ['secret', secret],
  ['deliveries', `${queued} queued, ${failed} failed`],
  ...(lastProblem === undefined ? [] : [['problem', toPlainLine(lastProblem)] satisfies [string, string]]),
  ...(disabledAt ? [['disabled', `since ${toMinute(disabledAt)}; --retry enables it`] satisfies [string, string]] : []),
]
