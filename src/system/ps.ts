import { spawnSync } from 'node:child_process'
import type { ProcessEntry } from './process-entry.ts'

// `lstart` has five words, and `command` with the environment behind it comes last.
const COLUMNS = 'pid=,ppid=,pgid=,state=,rss=,time=,lstart=,command='
const LINE = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\d+)\s+([\d:.-]+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/
const LARGEST_OUTPUT_BYTES = 64 * 1_024 * 1_024

/** The processes of a system without /proc, such as macOS; with `pid` that process only. */
export function readProcessesOfPs(markerName: string | undefined, pid?: number): ReadonlyMap<number, ProcessEntry> {
  const which = pid === undefined ? ['-ax'] : ['-p', String(pid)]
  // C keeps the form of the dates, and `-E` shows the environment.
  const { stdout, error } = spawnSync('ps', [...(markerName ? ['-E'] : []), ...which, '-ww', '-o', COLUMNS], {
    encoding: 'utf8',
    env: { PATH: '/bin:/usr/bin', LC_ALL: 'C' },
    maxBuffer: LARGEST_OUTPUT_BYTES,
  })
  // A `ps` that could not be started shows nothing about any process.
  if (error) throw error
  return parsePs(stdout, markerName)
}

/** Reads the lines of `ps`; lines of another form are left out. */
export function parsePs(output: string, markerName: string | undefined): ReadonlyMap<number, ProcessEntry> {
  const entries = new Map<number, ProcessEntry>()
  for (const line of output.split('\n')) {
    const [, pid, parent, group, state = '', rss, time = '', started = '', command = ''] = LINE.exec(line) ?? []
    if (pid === undefined) continue
    const marker = markerName === undefined ? undefined : new RegExp(`(?:^| )${markerName}=(\\S+)`).exec(command)?.[1]
    entries.set(Number(pid), {
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      started: started.replace(/\s+/g, ' '),
      ended: state.startsWith('Z'),
      residentBytes: Number(rss) * 1_024,
      cpuMs: toMilliseconds(time),
      ...(marker !== undefined && { marker }),
    })
  }
  return entries
}

/** `[days-][hours:]minutes:seconds[.hundredths]` */
function toMilliseconds(time: string): number {
  const [days, clock = ''] = time.includes('-') ? time.split('-') : ['0', time]
  const seconds = clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
  return (Number(days) * 86_400 + seconds) * 1_000
}
