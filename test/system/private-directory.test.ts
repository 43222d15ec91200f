import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from '../../src/system/private-directory.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'polyphony-private-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

test('a directory is created for its user only', () => {
  const path = join(directory, 'new', 'run')
  ensurePrivateDirectory(path)
  ensurePrivateDirectory(path)
  expect(statSync(path).mode & 0o777).toBe(0o700)
})

test('a directory that others may use, a link and a file are refused with what was found', () => {
  const path = join(directory, 'open')
  mkdirSync(path)
  chmodSync(path, 0o755)
  expect(() => ensurePrivateDirectory(path)).toThrow('its mode is 755')
  ensurePrivateDirectory(path, { mayBeRead: true })
  chmodSync(path, 0o777)
  expect(() => ensurePrivateDirectory(path, { mayBeRead: true })).toThrow('must not be writable by other users')
  symlinkSync(directory, join(directory, 'link'))
  expect(() => ensurePrivateDirectory(join(directory, 'link'))).toThrow('not a link')
  writeFileSync(join(directory, 'file'), '')
  expect(() => ensurePrivateDirectory(join(directory, 'file'))).toThrow()
})

test('a private file replaces another and leaves no draft', () => {
  const path = join(directory, 'file.json')
  writeFileSync(path, 'old')
  writePrivateFile(path, 'new')
  expect(readFileSync(path, 'utf8')).toBe('new')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readdirSync(directory)).toEqual(['file.json'])
})

test('a private file is read if it is an ordinary one that nobody else can have written', () => {
  const path = join(directory, 'file.json')
  expect(readPrivateFile(path)).toBeUndefined()
  expect(readPrivateFile(join(directory, 'none', 'file.json'))).toBeUndefined()
  writePrivateFile(path, 'text')
  expect(readPrivateFile(path)).toBe('text')
  for (const mode of [0o620, 0o602, 0o666]) {
    chmodSync(path, mode)
    expect(() => readPrivateFile(path)).toThrow('must not be writable by other users')
  }
  symlinkSync(path, join(directory, 'link'))
  expect(() => readPrivateFile(join(directory, 'link'))).toThrow('a link')
  expect(() => readPrivateFile(directory)).toThrow('an ordinary file')
  const pipe = join(directory, 'pipe')
  execFileSync('mkfifo', [pipe])
  expect(() => readPrivateFile(pipe)).toThrow('an ordinary file')
})

test.runIf(process.getuid?.() === 0)('a file of another user is refused, also by the superuser, who could read it', () => {
  const path = join(directory, 'file.json')
  writePrivateFile(path, 'text')
  chownSync(path, 12_345, 12_345)
  expect(() => readPrivateFile(path)).toThrow('must belong to the user 0 of this process, not to 12345')
})
