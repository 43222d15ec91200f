import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino'
import type { Logger, LogLevel } from '../config/config.ts'
import { redactLine } from './redaction.ts'
import { requestContext } from './request-context.ts'

export interface ServerLoggerOptions {
  readonly level: LogLevel
  /** Gets whole lines. Default: standard output. */
  readonly destination?: DestinationStream
}

/** The logger of the server: one JSON object a line, redacted, with the ids of the request and the flow it was written in. */
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

/** The same logger as `config.logger` takes it. */
export const toLogger = (logger: PinoLogger): Logger => ({
  error: (message, facts) => logger.error(facts ?? {}, message),
  warn: (message, facts) => logger.warn(facts ?? {}, message),
  info: (message, facts) => logger.info(facts ?? {}, message),
  debug: (message, facts) => logger.debug(facts ?? {}, message),
})

/** Nothing but these: other fields of an error, and its causes, may hold what a vendor was sent. */
function toErrorFacts(error: unknown): unknown {
  if (!(error instanceof Error)) return { type: typeof error }
  return { type: error.name, code: fieldOf(error, 'code'), message: error.message, stack: error.stack }
}

/** The address without its query: tickets stand there. */
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
