import { chmodSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isServerRunning, readServerFile, removeServerFile, writeServerFile } from '../../src/system/server-file.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'polyphony-server-file-'))
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const file = () => join(dataDir, 'server.json')
const own = { url: 'http://127.0.0.1:4100', token: 'ctl_token', ready: true }

test('a server finds its own file again, which names a process that runs', () => {
  writeServerFile(dataDir, own)
  const server = readServerFile(dataDir)
  expect(server).toMatchObject({ ...own, pid: process.pid })
  expect(server && isServerRunning(server)).toBe(true)
  expect(server && isServerRunning({ ...server, started: 'another boot/1' }), 'the same pid later').toBe(false)
  removeServerFile(dataDir)
  expect(readdirSync(dataDir)).toEqual([])
})

test('a file that others may have written names no server, and a server that ends leaves it alone', () => {
  writeServerFile(dataDir, own)
  chmodSync(file(), 0o666)
  const refused = expect.objectContaining({ code: 'CONFIG_INVALID', details: { key: 'services.dataDir' } })
  expect(() => readServerFile(dataDir)).toThrow(refused)
  removeServerFile(dataDir)
  expect(readdirSync(dataDir)).toContain('server.json')
  rmSync(file())
  const elsewhere = join(dataDir, 'elsewhere.json')
  writeFileSync(elsewhere, '{}', { mode: 0o600 })
  symlinkSync(elsewhere, file())
  expect(() => readServerFile(dataDir)).toThrow(refused)
})

test('a file that is cut off, empty, or names a process that is none has no server', () => {
  writeServerFile(dataDir, own)
  const whole = JSON.stringify(readServerFile(dataDir))
  const texts = [
    whole.slice(0, -1),
    '',
    'null',
    '[]',
    '{}',
    ...[0, 1, -1, 1.5, '7'].map((pid) => JSON.stringify({ ...JSON.parse(whole), pid })),
  ]
  for (const text of texts) {
    writeFileSync(file(), text, { mode: 0o600 })
    expect(readServerFile(dataDir), text).toBeUndefined()
  }
})
