import * as z from 'zod'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'

/** The version of the file format. It must be raised when a reader of the previous version would misread a file. */
export const EXPORT_FORMAT_VERSION = 1

/** Counts of rows by kind. */
export type RowCounts = Readonly<Record<string, number>>

/** The first line of a file. */
const headerSchema = z.strictObject({
  format: z.literal('polyphony-export'),
  formatVersion: z.int().positive(),
  /** Version of the program that wrote the file. */
  program: z.string(),
  /** Names of the migrations of the schema that the rows have. */
  migrations: z.array(z.string()),
  exportedAt: z.iso.datetime(),
})

/** The last line, by which a file that was cut or changed is detected. */
const trailerSchema = z.strictObject({
  end: z.literal(true),
  counts: z.record(z.string(), z.int().nonnegative()),
  /** SHA-256, in hexadecimal, of all lines before this one with their line ends. */
  sha256: z.string(),
})

export type ExportHeader = z.infer<typeof headerSchema>
export type ExportTrailer = z.infer<typeof trailerSchema>

/** One line of a row. Its text is the JSON that Postgres made, which keeps numbers and JSON columns exactly. */
export const toRowLine = (kind: string, rowJson: string): string => `{"kind":"${kind}","row":${rowJson}}\n`

/**
 * The line of a row whose bytes are too many for one line: `row` has the first of them, and the next lines,
 * of which `further` is the number, are of `toBytesLine` with the others.
 */
export const toLongRowLine = (kind: string, rowJson: string, further: number): string =>
  `{"kind":"${kind}","row":${rowJson},"further":${further}}\n`

/** `bytes`: as Postgres writes them, `\x` and hexadecimal digits. */
export const toBytesLine = (kind: string, bytes: string): string => `${JSON.stringify({ kind, bytes })}\n`

export const toLine = (value: ExportHeader | ExportTrailer): string => `${JSON.stringify(value)}\n`

/** The error for a file that cannot be imported; the message names the line, never its content. */
export const invalidLine = (line: number, problem: string): OrchestratorError =>
  new OrchestratorError('INPUT_INVALID', `line ${line}: ${problem}`, { details: { line } })

/** Parses the first line. Throws INPUT_INVALID for any other file and for a newer format or another schema. */
export function parseHeader(value: unknown, known: readonly string[]): ExportHeader {
  const parsed = headerSchema.safeParse(value, { jitless: true })
  if (!parsed.success) {
    throw invalidLine(1, 'expected the header of a file that `polyphony export` has written, found other content')
  }
  const header = parsed.data
  if (header.formatVersion > EXPORT_FORMAT_VERSION) {
    throw invalidLine(
      1,
      `expected format version ${EXPORT_FORMAT_VERSION}, found ${header.formatVersion}: import the file with Polyphony ${header.program} or later`,
    )
  }
  const unknown = header.migrations.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    throw invalidLine(
      1,
      `the file has the schema of a newer version (${unknown.join(', ')}): import it with Polyphony ${header.program} or later`,
    )
  }
  const missing = known.filter((name) => !header.migrations.includes(name))
  if (missing.length > 0) {
    throw invalidLine(
      1,
      `the file has the schema of an earlier version, without ${missing.join(', ')}: run \`polyphony migrate\` on its source and export again, or import it with Polyphony ${header.program} and migrate then`,
    )
  }
  return header
}

/** The trailer, or undefined if the line is a row. */
export function parseTrailer(value: unknown): ExportTrailer | undefined {
  const parsed = trailerSchema.safeParse(value, { jitless: true })
  return parsed.success ? parsed.data : undefined
}
