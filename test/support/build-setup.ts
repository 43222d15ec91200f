import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ROOT } from './run-block.ts'

const BUILT = join(ROOT, 'dist')
const CACHE = join(ROOT, 'node_modules/.cache/polyphony')
const LOCK = join(CACHE, 'build.lock')
const INPUTS = [
  'src',
  'templates',
  'examples',
  'migrations',
  'build.mjs',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
]
/** Every build writes these; the oldest of them counts, so that a build that was cut off counts as none. */
const OUTPUTS = [
  'src/index.js',
  'src/cli/main.js',
  'src/server/main.js',
  'src/client/client.js',
  'src/index.d.ts',
  'THIRD-PARTY-LICENSES',
]
const BUILD_TIMEOUT_MS = 600_000
const POLL_MS = 200

/** Builds `dist/` for the tests whose child processes start from it, unless it is newer than everything it is made of. */
export default async function ensureBuilt(): Promise<void> {
  mkdirSync(CACHE, { recursive: true })
  for (const deadline = Date.now() + 2 * BUILD_TIMEOUT_MS; isStale(); ) {
    if (takeLock()) {
      try {
        if (isStale()) build()
      } finally {
        rmSync(LOCK, { force: true })
      }
      return
    }
    if (Date.now() > deadline)
      throw new Error(`Another test run has been building for too long; if there is none, remove ${LOCK}`)
    await sleep(POLL_MS)
  }
}

function isStale(): boolean {
  const outputs = OUTPUTS.map((file) => join(BUILT, file))
  if (!outputs.every((file) => existsSync(file))) return true
  const oldestOutput = Math.min(...outputs.map((file) => statSync(file).mtimeMs))
  return INPUTS.some((name) => newestOf(join(ROOT, name)) > oldestOutput)
}

/** Folders count too: the time of a folder changes when a file in it is added, renamed or removed. */
function newestOf(path: string): number {
  const stats = statSync(path)
  if (!stats.isDirectory()) return stats.mtimeMs
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => newestOf(join(path, name))))
}

/** Parallel test runs must not build at once. A lock whose process is gone is removed. */
function takeLock(): boolean {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    if (!isHeld()) rmSync(LOCK, { force: true })
    return false
  }
}

function isHeld(): boolean {
  try {
    const pid = Number(readFileSync(LOCK, 'utf8'))
    // The holder creates the file before it writes its id.
    if (pid > 0) process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Builds beside `dist/` and then renames, so that a run that already uses the old one is disturbed for an instant only. */
function build(): void {
  const draft = join(CACHE, `dist-${process.pid}`)
  const old = `${draft}-old`
  try {
    const { status, stderr, error } = spawnSync(process.execPath, ['build.mjs', draft], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: BUILD_TIMEOUT_MS,
    })
    if (status !== 0) throw new Error(`dist/ could not be built: ${error ?? stderr}`)
    if (existsSync(BUILT)) renameSync(BUILT, old)
    renameSync(draft, BUILT)
  } finally {
    for (const folder of [draft, old]) rmSync(folder, { recursive: true, force: true })
  }
}
