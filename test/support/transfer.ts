import { createHash } from 'node:crypto'
import { exportDatabase, importDatabase } from '../../src/repositories/database.ts'

/** All data of a database as the text of a file. */
export async function exportText(url: string, includeRunning = false, maxBytesPerLine?: number): Promise<string> {
  const chunks: string[] = []
  await exportDatabase(
    url,
    async (given) => {
      for await (const chunk of given) chunks.push(chunk)
    },
    { program: '0.0.0-test', includeRunning, maxBytesPerLine },
  )
  return chunks.join('')
}

/** Imports the text of a file, in chunks of so many bytes. */
export const importText = (url: string, text: string | Uint8Array, chunkBytes = 65_536) =>
  importDatabase(url, chunksOf(Buffer.from(text), chunkBytes))

async function* chunksOf(bytes: Buffer, length: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += length) yield bytes.subarray(start, start + length)
}

/** The lines between header and trailer. */
export const rowLines = (file: string): readonly string[] => file.trimEnd().split('\n').slice(1, -1)

/** The file with other rows, and with a trailer that fits them. */
export function withRows(file: string, lines: readonly string[]): string {
  const [header = ''] = file.split('\n')
  const counts: Record<string, number> = {}
  for (const line of lines) {
    const kind = /^\{"kind":"(\w+)"/.exec(line)?.[1] ?? 'none'
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  const text = [header, ...lines].map((line) => `${line}\n`).join('')
  const sha256 = createHash('sha256').update(text).digest('hex')
  return `${text}${JSON.stringify({ end: true, counts, sha256 })}\n`
}
