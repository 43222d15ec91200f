import {
  chmodSync,
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
import { ensurePrivateDirectory, writePrivateFile } from '../../src/system/private-directory.ts'

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
