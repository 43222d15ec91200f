import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ROOT } from './run-block.ts'

/** A folder in which clients are installed that are too large for this repository; .ci/run makes it. */
const folder = process.env.POLYPHONY_CLIENTS ?? ''

/** Whether there are such clients: OpenAI Agents and older versions of the AI SDK. */
export const HAS_CLIENTS = folder !== '' && existsSync(join(folder, 'node_modules'))
if (!HAS_CLIENTS)
  console.warn('skipped: clients of 110 MB that no test needs otherwise; POLYPHONY_CLIENTS names a folder with them (.ci/run)')

/** Runs a program of this repository beside those clients. Resolves with the JSON that it printed. */
export async function runWithClients(program: string, { words = [], input = '' }: { words?: readonly string[]; input?: string }) {
  const code = readFileSync(join(ROOT, program), 'utf8')
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code, '--', ...words], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.end(input)
  const [printed] = await Promise.all([text(child.stdout), once(child, 'close')])
  if (child.exitCode !== 0) throw new Error(`${program} ended with exit code ${child.exitCode}`)
  return JSON.parse(printed)
}
