import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

/** How `polyphony` is started as it is shipped, which takes half the time of a start from the source. */
export const POLYPHONY = { command: process.execPath, args: [MAIN] } as const

export interface CommandLineResult {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  readonly lines: readonly string[]
}

export interface CommandLine {
  /** Working directory, empty home directory, and directory of the default database. */
  readonly directory: string
  /** Runs `polyphony` in its own process. `onOutput` receives all of stdout so far, and the process id. */
  run(
    words: readonly string[],
    options?: {
      readonly env?: Readonly<Record<string, string>>
      readonly stdin?: string
      readonly onOutput?: (stdout: string, pid: number) => void
      /** Receives all of stderr so far. */
      readonly onLog?: (stderr: string) => void
    },
  ): Promise<CommandLineResult>
  remove(): void
}

/** Runs commands in an empty directory without configuration and without a terminal. */
export function createCommandLine(): CommandLine {
  const directory = mkdtempSync(join(tmpdir(), 'polyphony-cli-'))
  return {
    directory,
    run: (words, { env = {}, stdin = '', onOutput, onLog } = {}) =>
      new Promise((resolve, reject) => {
        const child = spawn(POLYPHONY.command, [...POLYPHONY.args, ...words], {
          cwd: directory,
          env: { PATH: process.env.PATH, HOME: directory, ...env },
        })
        let stdout = ''
        let stderr = ''
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          stdout += text
          onOutput?.(stdout, child.pid ?? 0)
        })
        child.stderr.setEncoding('utf8').on('data', (text: string) => {
          stderr += text
          onLog?.(stderr)
        })
        child.once('error', reject)
        child.once('close', (exitCode) => resolve({ exitCode, stdout, stderr, lines: stdout.trimEnd().split('\n') }))
        child.stdin.on('error', () => {})
        child.stdin.end(stdin)
      }),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
