import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lockDirectory } from '../../src/repositories/directory-lock.ts'
import { openPglite } from '../../src/repositories/pglite.ts'

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

describe('a directory lock', () => {
  test('names this process while it is held and is gone after', async () => {
    const lock = await lockDirectory(directory)
    expect(JSON.parse(await readFile(lockFile, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() })
    expect(await readdir(folder)).toEqual(['data.lock'])
    await lock.release()
    expect(await readdir(folder)).toEqual([])
  })

  test('is refused a second time in the same process', async () => {
    const lock = await lockDirectory(directory)
    const second = lockDirectory(directory)
    await expect(second).rejects.toMatchObject({ code: 'DATABASE_LOCKED', retryable: false, details: { pid: process.pid } })
    await lock.release()
    await (await lockDirectory(directory)).release()
  })

  test.each([
    ['that lives on this host', holder()],
    ['of another host, even where no such pid lives here', holder({ pid: DEAD_PID, host: 'elsewhere' })],
  ])('is refused while held by a process %s', async (_name, content) => {
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
  ])('%s is taken over', async (_name, content) => {
    await writeFile(lockFile, content)
    const lock = await lockDirectory(directory)
    expect(JSON.parse(await readFile(lockFile, 'utf8'))).toMatchObject({ pid: process.pid })
    expect(await readdir(folder)).toEqual(['data.lock'])
    await lock.release()
  })

  test('of a dead process is taken over by one of many that try at once', async () => {
    await writeFile(lockFile, holder({ pid: DEAD_PID }))
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => lockDirectory(directory)))
    const won = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    expect(won).toHaveLength(1)
    await won[0]?.release()
  })

  test('is taken over although an earlier takeover was killed in the middle', async () => {
    await writeFile(lockFile, holder({ pid: DEAD_PID }))
    await writeFile(`${lockFile}.takeover`, holder({ pid: DEAD_PID }))
    await utimes(`${lockFile}.takeover`, 1, 1)
    await (await lockDirectory(directory)).release()
    expect(await readdir(folder)).toEqual([])
  })

  test('is not removed by a process that lost it', async () => {
    const lock = await lockDirectory(directory)
    await writeFile(lockFile, holder())
    await lock.release()
    expect(await readFile(lockFile, 'utf8')).toBe(holder())
  })
})

test('a directory is one directory under every path that leads to it', async () => {
  await mkdir(directory)
  await symlink(directory, join(folder, 'link'))
  const lock = await lockDirectory(directory)
  await expect(openPglite(join(folder, 'link'))).rejects.toMatchObject({ code: 'DATABASE_LOCKED' })
  await lock.release()
})
