import { LOG_LEVELS, type Logger, type LogLevel } from './config-schema.ts'

/** Creates a logger that drops lines below a level and passes others to `given`, or writes them to standard error. */
export function createLogger(given: Logger | undefined, level: LogLevel): Logger {
  const lowest = LOG_LEVELS.indexOf(level)
  const at =
    (own: Exclude<LogLevel, 'silent'>): Logger['error'] =>
    (message, facts) => {
      if (LOG_LEVELS.indexOf(own) > lowest) return
      if (given) given[own](message, facts)
      else process.stderr.write(`${JSON.stringify({ level: own, message, ...facts })}\n`)
    }
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }
}
