import { OrchestratorError } from '../../../errors/orchestrator-error.ts'

/** Length of base64 text for this number of bytes. */
export const base64Length = (byteLength: number): number => Math.ceil(byteLength / 3) * 4

const MEGABYTE = 1024 * 1024

/** The error of files that a vendor would reject for their size, found before anything is read or sent. */
export function toFileTooLarge(provider: string, what: string, found: number, limit: number, advice: string): OrchestratorError {
  const sizes = `at most ${toMegabytes(limit, Math.floor)} MB, found ${toMegabytes(found, Math.ceil)} MB`
  return new OrchestratorError('PROVIDER_REJECTED', `Expected ${what} for provider "${provider}" to have ${sizes}; ${advice}`, {
    details: { provider, byteLength: found, maxBytes: limit },
  })
}

const toMegabytes = (bytes: number, round: (value: number) => number): number => round((bytes / MEGABYTE) * 10) / 10
