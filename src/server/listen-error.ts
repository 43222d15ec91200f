import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** The setting of a part of an address, and its value. */
export interface AddressSetting {
  readonly key: string
  readonly value: string | number
}

/** Error codes of the system for an address that is not available, with the part at fault and the expected value. */
const LISTEN_PROBLEMS: Readonly<Record<string, readonly [part: 'host' | 'port', expected: string]>> = {
  EADDRINUSE: ['port', 'a free port'],
  EACCES: ['port', 'a port that this user may listen on'],
  EADDRNOTAVAIL: ['host', 'an address of this machine'],
  ENOTFOUND: ['host', 'an address of this machine'],
}

/** CONFIG_INVALID that names the setting at fault; any other error is returned as it is. */
export function toListenError(
  error: unknown,
  settings: { readonly host: AddressSetting; readonly port: AddressSetting },
): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const [part, expected] = LISTEN_PROBLEMS[code] ?? []
  if (part === undefined) return error
  const { key, value } = settings[part]
  return new OrchestratorError('CONFIG_INVALID', `${key}: expected ${expected}, found ${value} (${code})`, {
    details: { key },
    cause: error,
  })
}

/** The URL of an address; IPv6 addresses get their brackets. */
export const toUrl = (host: string, port: number | string): string =>
  `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`
