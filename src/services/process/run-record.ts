import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { isErrorCode } from '../../system/error-code.ts'
import { writePrivateFile } from '../../system/private-directory.ts'

const intent = z.object({
  id: z.string(),
  runId: z.string().min(1),
  definitionHash: z.string(),
  orphans: z.enum(['stop', 'adopt']),
  /** Start of the run, in ISO form. */
  startedAt: z.string(),
})

const processFields = z.object({
  pid: z.number().int(),
  /** Boot and start time of the process. */
  started: z.string(),
  boot: z.string().optional(),
  /** Namespace in which the pid is valid. */
  pidNamespace: z.string().optional(),
  port: z.number().int().optional(),
  limits: z.object({
    memory: z.enum(['rlimit+sampled', 'sampled', 'none']),
    cpu: z.enum(['priority', 'none']),
  }),
})

const runRecord = intent.extend({ process: processFields.optional() })

/** What the next supervisor must know of a run. Without `process` it is the intent of a start. */
export type RunRecord = Readonly<z.infer<typeof runRecord>>
export type RecordedProcess = Readonly<z.infer<typeof processFields>>

/** Files of the runs: `<id>.json` the record, `<id>.pid` for people, `<id>.out` the pipe of the output. */
export interface RunRecords {
  write(record: RunRecord): void
  /** All records; one that cannot be read has no `record`. */
  list(): readonly { readonly id: string; readonly record?: RunRecord }[]
  read(id: string): RunRecord | undefined
  has(id: string): boolean
  /** Renames the record, so that it is read no more, and returns its path. */
  setAside(id: string): string
  remove(id: string): void
  pipePath(id: string): string
}

const SUFFIX = '.json'

export function createRunRecords(directory: string): RunRecords {
  const pathOf = (id: string, suffix: string) => join(directory, `${id}${suffix}`)
  const read = (id: string): RunRecord | undefined => {
    try {
      const parsed = runRecord.safeParse(JSON.parse(readFileSync(pathOf(id, SUFFIX), 'utf8')))
      return parsed.success && parsed.data.id === id ? parsed.data : undefined
    } catch (error) {
      // Such a record stays unreadable, and must not keep the other services from starting.
      if (error instanceof SyntaxError || isErrorCode(error, 'ENOENT', 'EISDIR', 'ELOOP', 'EACCES', 'EPERM')) return undefined
      throw error
    }
  }
  const names = () => {
    try {
      return readdirSync(directory)
    } catch (error) {
      if (isErrorCode(error, 'ENOENT')) return []
      throw error
    }
  }
  const remove = (id: string) => {
    for (const suffix of ['.pid', '.out', SUFFIX]) rmSync(pathOf(id, suffix), { force: true })
  }
  return {
    write(record) {
      writePrivateFile(pathOf(record.id, SUFFIX), JSON.stringify(record))
      if (record.process) writePrivateFile(pathOf(record.id, '.pid'), `${record.process.pid}\n`)
    },
    read,
    has: (id) => names().includes(`${id}${SUFFIX}`),
    list: () =>
      names()
        .filter((name) => name.endsWith(SUFFIX))
        .map((name) => {
          const id = name.slice(0, -SUFFIX.length)
          const record = read(id)
          return { id, ...(record && { record }) }
        }),
    setAside(id) {
      const aside = pathOf(id, '.set-aside')
      renameSync(pathOf(id, SUFFIX), aside)
      remove(id)
      return aside
    },
    remove,
    pipePath: (id) => pathOf(id, '.out'),
  }
}
