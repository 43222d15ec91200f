import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { isSameProcess } from '../../system/process-table.ts'

/** A run of a service that the files of a server name. */
export interface RecordedService {
  readonly id: string
  readonly pid?: number
  readonly isRunning: boolean
}

/** What the records of runs say, without a server. Records that cannot be read are left out. */
export function readRunRecords(dataDir: string): readonly RecordedService[] {
  const folder = join(dataDir, 'run')
  return listNames(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name): RecordedService[] => {
      const record = readRecord(join(folder, name))
      return record === undefined ? [] : [record]
    })
}

function readRecord(path: string): RecordedService | undefined {
  const record = readJson(path)
  if (typeof record !== 'object' || record === null || !('id' in record) || typeof record.id !== 'string') return undefined
  const { id } = record
  const recorded = 'process' in record ? record.process : undefined
  if (typeof recorded !== 'object' || recorded === null || !('pid' in recorded && 'started' in recorded)) {
    return { id, isRunning: false }
  }
  const { pid, started } = recorded
  if (typeof pid !== 'number' || typeof started !== 'string') return { id, isRunning: false }
  return { id, pid, isRunning: isSameProcess({ pid, started }) }
}

/** Bytes from the end of a log that may hold its last lines. */
const TAIL_BYTES = 65_536

/** The last lines of a file; none where it cannot be read. */
export function readLastLines(path: string, count: number): readonly string[] {
  try {
    const file = openSync(path, 'r')
    try {
      const { size } = fstatSync(file)
      const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES))
      readSync(file, bytes, 0, bytes.length, size - bytes.length)
      const lines = bytes.toString('utf8').split('\n')
      return lines.filter((line) => line !== '').slice(-count)
    } finally {
      closeSync(file)
    }
  } catch {
    return []
  }
}

function listNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
