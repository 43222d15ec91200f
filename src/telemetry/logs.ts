import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino'
import type { Logger, LogLevel } from '../config/config.ts'
import { redactLine } from './redaction.ts'
import { requestContext } from './request-context.ts'

export interface ServerLoggerOptions {
  readonly level: LogLevel
  /** Receives one whole line per call. Default: standard output. */
  readonly destination?: DestinationStream
}

/** The logger of the server: one redacted JSON object per line, with the current request and flow ids. */
export function createServerLogger({ level, destination = pino.destination(1) }: ServerLoggerOptions): PinoLogger {
  const redacted: DestinationStream = { write: (line) => destination.write(redactLine(line)) }
  const options = {
    level,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: toErrorFacts, error: toErrorFacts, req: toRequestFacts, res: toResponseFacts },
    mixin: () => ({ ...requestContext.current() }),
  }
  return pino(options, redacted)
}

/** Adapts a pino logger to `config.logger`. */
export const toLogger = (logger: PinoLogger): Logger => ({
  error: (message, facts) => logger.error(facts ?? {}, message),
  warn: (message, facts) => logger.warn(facts ?? {}, message),
  info: (message, facts) => logger.info(facts ?? {}, message),
  debug: (message, facts) => logger.debug(facts ?? {}, message),
})

/** Fields are picked, because others, and the causes, may hold prompts. */
function toErrorFacts(error: unknown): unknown {
  if (!(error instanceof Error)) return { type: typeof error }
  return { type: error.name, code: fieldOf(error, 'code'), message: error.message, stack: error.stack }
}

/** Drops the query of the address, which may hold a ticket. */
function toRequestFacts(request: unknown): unknown {
  const address = fieldOf(request, 'url')
  return {
    method: fieldOf(request, 'method'),
    path: typeof address === 'string' ? address.split('?', 1)[0] : undefined,
    ip: fieldOf(request, 'ip'),
  }
}

const toResponseFacts = (response: unknown): unknown => ({ status: fieldOf(response, 'statusCode') })

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
