/** A logger with the interface of pino. */
export interface ServerLogger {
  level: string
  fatal(fields: unknown, message?: string, ...values: unknown[]): void
  error(fields: unknown, message?: string, ...values: unknown[]): void
  warn(fields: unknown, message?: string, ...values: unknown[]): void
  info(fields: unknown, message?: string, ...values: unknown[]): void
  debug(fields: unknown, message?: string, ...values: unknown[]): void
  trace(fields: unknown, message?: string, ...values: unknown[]): void
  silent(fields: unknown, message?: string, ...values: unknown[]): void
  child(bindings: Record<string, unknown>): ServerLogger
}
