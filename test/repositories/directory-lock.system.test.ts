import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lockDirectory } from '../../src/repositories/postgres/embedded/directory-lock.ts'
import { openPglite } from '../../src/repositories/postgres/embedded/pglite.ts'

let folder: string
let directory: string
let lockFile: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'polyphony-lock-'))
  directory = join(folder, 'data')
  lockFile = `${directory}.lock`
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Above every pid that Linux gives out. */
const DEAD_PID = 4_194_999

const holder = (overrides: Record<string, unknown> = {}) =>
  JSON.stringify({ pid: process.ppid, host: hostname(), token: 'of another', ...overrides })

const HOLD = `
import { lockDirectory } from ${JSON.stringify(new URL('../../src/repositories/postgres/embedded/directory-lock.ts', import.meta.url).href)}
await lockDirectory(process.argv[1])
console.log('held')
process.stdin.resume()
`

/** A process that holds the lock until it is killed. */
async function heldByChild(held: string) {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', HOLD, held], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return { child, facts: JSON.parse(await readFile(lockFile, 'utf8')) }
}

describe('a directory lock', () => {
  test('the lock file names this process while the lock is held and is removed afterwards', async () => {
    const lock = await lockDirectory(directory)
    const { token, ...facts } = JSON.parse(await readFile(lockFile, 'utf8'))
    expect(facts).toMatchObject({ pid: process.pid, host: hostname(), listens: true })
    expect((await readdir(folder)).sort()).toEqual(['data.lock', `data.lock.${token}.sock`])
    await lock.release()
    expect(await readdir(folder)).toEqual([])
  })

  test('a lock is refused a second time in the same process', async () => {
    const lock = await lockDirectory(directory)
    const second = lockDirectory(directory)
    await expect(second).rejects.toMatchObject({ code: 'DATABASE_LOCKED', retryable: false, details: { pid: process.pid } })
    await lock.release()
    await (await lockDirectory(directory)).release()
  })

  test.each([
    ['that lives on this host', holder()],
    ['of another host, even where no such pid lives here', holder({ pid: DEAD_PID, host: 'elsewhere' })],
  ])('a lock is refused while it is held by a process %s', async (_name, content) => {
    await writeFile(lockFile, content)
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'DATABASE_LOCKED', details: { lockFile } })
    expect(await readFile(lockFile, 'utf8')).toBe(content)
    expect(await readdir(folder)).toEqual(['data.lock'])
  })

  test.each([
    ['of a process that is dead', holder({ pid: DEAD_PID })],
    ['of a process whose pid was given to another one since', holder({ started: 'another boot/1' })],
    ['that is empty', ''],
    ['that is not one', '{"pid":"1"}'],
  ])('a lock is taken over: %s', async (_name, content) => {
    await writeFile(lockFile, content)
    const lock = await lockDirectory(directory)
    expect(JSON.parse(await readFile(lockFile, 'utf8'))).toMatchObject({ pid: process.pid })
    await lock.release()
    expect(await readdir(folder)).toEqual([])
  })

  test('the lock of a dead process is taken over by one of many processes that try at once', async () => {
    await writeFile(lockFile, holder({ pid: DEAD_PID }))
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => lockDirectory(directory)))
    const won = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    expect(won).toHaveLength(1)
    await won[0]?.release()
  })

  test('a lock is taken over although an earlier takeover was killed in the middle', async () => {
    await writeFile(lockFile, holder({ pid: DEAD_PID }))
    await writeFile(`${lockFile}.takeover`, holder({ pid: DEAD_PID }))
    await utimes(`${lockFile}.takeover`, 1, 1)
    await (await lockDirectory(directory)).release()
    expect(await readdir(folder)).toEqual([])
  })

  test.each([
    ['under the same host name', {}],
    ['under another host name, as of a container that was made anew', { host: 'container-old' }],
    ['under a process id that lives here, as of a container that began anew', { pid: process.pid, host: 'container-old' }],
  ])('the lock of a killed process is taken over at once %s', async (_name, overrides) => {
    const { child, facts } = await heldByChild(directory)
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'DATABASE_LOCKED', details: { pid: child.pid } })
    await writeFile(lockFile, JSON.stringify({ ...facts, ...overrides }))
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'DATABASE_LOCKED', retryable: true })
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    await ended
    await (await lockDirectory(directory)).release()
    expect(await readdir(folder)).toEqual([])
  })

  test('a lock is refused while its process runs in another container whose pids are unknown here', async () => {
    const { child, facts } = await heldByChild(directory)
    await writeFile(lockFile, JSON.stringify({ ...facts, pid: DEAD_PID, host: 'elsewhere', pidNamespace: 'pid:[1]' }))
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      code: 'DATABASE_LOCKED',
      details: { pid: DEAD_PID, host: 'elsewhere' },
    })
    child.kill('SIGKILL')
  })

  test('a lock is refused while its process is stopped and does not answer', async () => {
    const { child } = await heldByChild(directory)
    child.kill('SIGSTOP')
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'DATABASE_LOCKED' })
    child.kill('SIGKILL')
  })

  test('the lock of another, unreachable machine is taken over when it was not renewed for minutes', async () => {
    const remote = holder({ host: 'elsewhere', boot: 'another kernel', listens: true })
    await writeFile(lockFile, remote)
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'DATABASE_LOCKED' })
    const minutesAgo = new Date(Date.now() - 180_000)
    await utimes(lockFile, minutesAgo, minutesAgo)
    await (await lockDirectory(directory)).release()
  })

  test('a lock works in a folder whose path is too long for a socket', async () => {
    const deep = join(folder, 'a'.repeat(100), 'b'.repeat(100))
    await mkdir(deep, { recursive: true })
    const lock = await lockDirectory(join(deep, 'data'))
    expect((await readdir(deep)).some((name) => name.endsWith('.sock'))).toBe(true)
    await expect(lockDirectory(join(deep, 'data'))).rejects.toMatchObject({ code: 'DATABASE_LOCKED' })
    await lock.release()
    expect(await readdir(deep)).toEqual([])
  })

  test('a lock is not removed by a process that lost it', async () => {
    const lock = await lockDirectory(directory)
    await writeFile(lockFile, holder())
    await lock.release()
    expect(await readFile(lockFile, 'utf8')).toBe(holder())
  })
})

test('two paths to the same directory share one lock', async () => {
  await mkdir(directory)
  await symlink(directory, join(folder, 'link'))
  const lock = await lockDirectory(directory)
  await expect(openPglite(join(folder, 'link'))).rejects.toMatchObject({ code: 'DATABASE_LOCKED' })
  await lock.release()
})
