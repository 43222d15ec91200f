import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLogFile, type LogFileOptions } from '../../../src/services/logs/log-file.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'polyphony-log-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const open = (options: Partial<LogFileOptions> = {}) =>
  createLogFile({ path: join(directory, 'a.log'), maxBytes: 100, keep: 2, onDropped: () => {}, ...options })
const contentOf = (name: string) => readFileSync(join(directory, name), 'latin1')

test('a write that would pass the size begins a new file, and only the newest full files are kept', () => {
  const file = open()
  for (const letter of 'abcdefg') file.write(Buffer.alloc(60, letter))
  file.close()
  expect(readdirSync(directory).sort()).toEqual(['a.log', 'a.log.1', 'a.log.2'])
  expect(['a.log.2', 'a.log.1', 'a.log'].map((name) => contentOf(name)[0])).toEqual(['e', 'f', 'g'])
  expect(statSync(join(directory, 'a.log')).mode & 0o777).toBe(0o600)
})

test('a file that is opened again is continued, and its old size counts', () => {
  const first = open()
  first.write(Buffer.alloc(60, 'a'))
  first.close()
  const second = open()
  second.write(Buffer.alloc(30, 'b'))
  second.write(Buffer.alloc(30, 'c'))
  second.close()
  expect(contentOf('a.log.1')).toBe('a'.repeat(60) + 'b'.repeat(30))
  expect(contentOf('a.log')).toBe('c'.repeat(30))
})

test('without kept files a full file is replaced', () => {
  const file = open({ keep: 0 })
  file.write(Buffer.alloc(60, 'a'))
  file.write(Buffer.alloc(60, 'b'))
  file.close()
  expect(readdirSync(directory)).toEqual(['a.log'])
  expect(contentOf('a.log')).toBe('b'.repeat(60))
})

test('on a full disk bytes are dropped, counted and reported, and writing resumes', () => {
  const dropped: number[] = []
  let space = 50
  const file = open({
    onDropped: (bytes) => dropped.push(bytes),
    write: (fd, bytes) => {
      if (space === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      const count = writeSync(fd, bytes, 0, Math.min(space, bytes.length))
      space -= count
      return count
    },
  })
  file.write(Buffer.alloc(30, 'a'))
  file.write(Buffer.alloc(30, 'b'))
  file.write(Buffer.alloc(7, 'c'))
  space = 1_000
  file.write(Buffer.alloc(5, 'd'))
  file.close()
  expect(contentOf('a.log')).toBe('a'.repeat(30) + 'b'.repeat(20) + 'd'.repeat(5))
  // The first failure is reported at once, the second with the write that succeeds.
  expect(dropped).toEqual([10, 7])
})
