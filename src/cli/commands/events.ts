import { once } from 'node:events'
import { Option } from 'commander'
import type { PolyphonyConfig } from '../../config/config.ts'
import type { PolyphonyEvent } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { collectWords, databaseOption, defineCommand, jsonOption, parseCount } from '../command.ts'
import { readAcrossServers } from '../control/follow-events.ts'
import { connectToServer, dataDirOf, findServer } from '../control/server-connection.ts'
import type { ServerEvents } from '../control/server-events.ts'
import { untilStopped } from '../control/stop-signal.ts'
import { toPlainLine, truncate } from '../plain-text.ts'
import { type CommandContext, type DatabaseOptions, toFlags, withServices } from '../services.ts'

interface EventsOptions extends DatabaseOptions {
  readonly follow?: boolean
  readonly correlation?: string
  readonly type?: readonly string[]
  readonly after?: number
  readonly limit: number
}

/** Characters of a line where no terminal sets its width. */
const LINE_LENGTH = 400

/**
 * `polyphony events`: stored events, or those that are published, until SIGINT or SIGTERM. They come from the running
 * server of the folder; without one, from the database.
 */
export const eventsCommand = defineCommand<EventsOptions>({
  name: 'events',
  description: 'list stored events, or follow those that are published',
  configure: (command) =>
    command
      .option('--follow', 'print events as they are published, until the command is ended')
      .option('--correlation <id>', 'only events with this correlation id, such as the id of a flow')
      .option('--type <type>', 'only events of this type; service_* means all that begin like it; repeatable', collectWords)
      .addOption(new Option('--after <seq>', 'only events with a higher number').argParser(parseCount).conflicts('follow'))
      .option('--limit <number>', 'events of a list', parseCount, 100)
      .addOption(databaseOption())
      .addOption(jsonOption()),
  run: (context, options) => (options.follow ? printPublished(context, options) : printStored(context, options)),
})

/**
 * The way to the running server of this folder. A database that the command line names is opened instead, because the
 * server may have another one.
 */
async function findEvents({ services }: CommandContext, { database }: EventsOptions): Promise<(() => ServerEvents) | undefined> {
  if (database !== undefined) return undefined
  const config = await services.loadConfig({})
  return findServer(dataDirOf(config)) && (() => connectToServer(config).events)
}

async function printStored(context: CommandContext, options: EventsOptions): Promise<void> {
  const { correlation: correlationId, type: types, after: afterSeq, limit } = options
  const query = { correlationId, types, afterSeq }
  const connect = await findEvents(context, options)
  const found = connect
    ? await connect().list(query, limit)
    : await withServices(context, toFlags(options), ({ events }) => events.list(query, limit))
  if (found.length === 0 && !context.json) context.terminal.print('No events.')
  for (const event of found) printEvent(context, event)
}

async function printPublished(context: CommandContext, options: EventsOptions): Promise<void> {
  // Neither the handler nor its connection keeps a process running, and closing them must not end with it.
  const alive = setInterval(() => {}, 60_000)
  try {
    await untilStopped(async (signal) => {
      const connect = await findEvents(context, options)
      if (connect) await printFromServer(context, options, connect, signal)
      else await printFromDatabase(context, options, signal)
    })
  } finally {
    clearInterval(alive)
  }
}

async function printFromServer(
  context: CommandContext,
  { type: types, correlation: correlationId }: EventsOptions,
  connect: () => ServerEvents,
  signal: AbortSignal,
): Promise<void> {
  const { terminal, json } = context
  if (!json) terminal.warn('Waiting for events; Ctrl+C ends it.')
  const events = readAcrossServers({
    connect,
    types,
    correlationId,
    signal,
    onGap: () => terminal.warn('Events are missing here: they came faster than they were printed'),
    onLost: ({ message }, delayMs) => terminal.warn(`No connection: ${message}. Next attempt in ${delayMs} ms.`),
    onRejoined: (isSameLog) => terminal.warn(isSameLog ? REJOINED : OTHER_LOG),
  })
  for await (const event of events) printEvent(context, event)
}

const REJOINED = 'Connected again; events of the log continue after the last one, updates of flows with the next one.'
const OTHER_LOG = 'Connected again, to a log with fewer events than before, which is read from its beginning.'

async function printFromDatabase(context: CommandContext, options: EventsOptions, signal: AbortSignal): Promise<void> {
  const { terminal, json } = context
  const { type, correlation: correlationId } = options
  await withServices(context, toFlags(options), async ({ events, config }) => {
    assertShared(config)
    events.on({ type, correlationId }, (event) => printEvent(context, event), {
      signal,
      order: 'arrival',
      onDropped: ({ count }) => terminal.warn(`${count} events are missing here: they came faster than they were printed`),
    })
    if (!json) terminal.warn('Waiting for events; Ctrl+C ends it.')
    if (!signal.aborted) await once(signal, 'abort')
  })
}

/** Throws CONFIG_INVALID for an embedded database, into which no other process can publish. */
function assertShared({ database }: Pick<PolyphonyConfig, 'database'>): void {
  if (typeof database !== 'string' || !/^(memory|pglite):/.test(database)) return
  throw new OrchestratorError(
    'CONFIG_INVALID',
    '--follow: expected a running server or postgres://…, because an embedded database belongs to one process, so that no other one publishes into it',
  )
}

function printEvent({ terminal, json }: Pick<CommandContext, 'terminal' | 'json'>, event: PolyphonyEvent): void {
  if (json) {
    terminal.printJson(event)
    return
  }
  const { seq, type, source, subject = '', priority, data, timestamp } = event
  const facts = [timestamp.toISOString(), seq === 0 ? '-' : String(seq), type, source, subject, priority]
  const line = [...facts.filter((fact) => fact !== ''), data === null ? '' : (JSON.stringify(data) ?? '')].map(toPlainLine)
  terminal.print(truncate(line.join('  ').trimEnd(), terminal.isLive ? terminal.columns : LINE_LENGTH))
}
