import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmdirSync, statfsSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createProcessWorld, nodeProgram, type ProcessWorld, stopRun, until } from '../process-world.ts'

const DISK_BYTES = 16 * 1_024 * 1_024

let world: ProcessWorld
let disk: string | undefined
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(async () => {
  try {
    await world.close()
  } finally {
    if (disk) {
      // At once out of the tree of files, even if something still has a file of it open.
      execFileSync('umount', ['-l', disk])
      rmdirSync(disk)
      disk = undefined
    }
  }
})

/** A disk of 16 MB in memory; `undefined` where this process may not mount one. */
function mountDisk(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'polyphony-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', folder], { stdio: 'ignore' })
    return folder
  } catch {
    rmdirSync(folder)
    return undefined
  }
}

test('on a full disk a service runs on, the bytes that are lost are counted and reported, and writing resumes', async ({
  skip,
}) => {
  disk = mountDisk()
  if (!disk) return skip('no disk may be mounted here: that needs root on Linux')
  const dropped: { readonly id: string; readonly bytes: number }[] = []
  const logDir = join(disk, 'logs')
  mkdirSync(logDir, { mode: 0o700 })
  const driver = world.openDriver({ logDir, onLogDropped: (report) => dropped.push(report) })
  const { run, lines, ready } = await world.start(driver, world.serviceOf(nodeProgram('numbers.mjs', '500')))
  await ready()

  const filler = join(disk, 'filler')
  const { bavail, bsize } = statfsSync(disk)
  writeFileSync(filler, Buffer.alloc(bavail * bsize))
  // The last block of the log may have room.
  await until('bytes are dropped', () => dropped.length > 0)
  const seen = lines.length
  await until('the service writes on', () => lines.length > seen + 50)
  const log = join(logDir, 'one.log')
  const { size } = statSync(log)
  expect(statfsSync(disk).bavail).toBe(0)

  truncateSync(filler)
  await until('writing has resumed', () => statSync(log).size > size)
  await stopRun(run)
  const lost = Buffer.byteLength(`${lines.join('\n')}\n`) - statSync(log).size
  expect(lost).toBeGreaterThan(0)
  expect(dropped.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(lost)
  expect(new Set(dropped.map(({ id }) => id))).toEqual(new Set(['one']))
})
