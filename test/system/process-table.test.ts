import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { createProcessTable, findStart, isSameProcess } from '../../src/system/process-table.ts'
import { parsePs } from '../../src/system/ps.ts'

const NAME = 'POLYPHONY_TEST_MARKER'

test('the table has every process with its parent, group, use and marker', async () => {
  const marker = randomUUID()
  const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1000)'], {
    detached: true,
    env: { [NAME]: marker, [`X${NAME}`]: 'other' },
  })
  await once(child.stdout, 'data')
  const { pid = 0 } = child
  const table = createProcessTable(NAME)
  const entry = (await table.read()).get(pid)
  expect(entry).toMatchObject({ pid, parent: process.pid, group: pid, ended: false, marker, started: findStart(pid) })
  expect(entry?.residentBytes).toBeGreaterThan(10_000_000)
  expect(entry?.cpuMs).toBeGreaterThanOrEqual(0)
  expect(isSameProcess({ pid, started: entry?.started ?? '' })).toBe(true)
  expect(isSameProcess({ pid, started: 'another' })).toBe(false)
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  expect((await table.read()).get(pid)).toBeUndefined()
  expect(isSameProcess({ pid, started: entry?.started ?? '' })).toBe(false)
})

test('a variable whose name only ends like the marker is none', async () => {
  const child = spawn('sleep', ['1000'], { env: { PATH: process.env.PATH, [`X${NAME}`]: `${NAME}=value` } })
  await once(child, 'spawn')
  const entry = (await createProcessTable(NAME).read()).get(child.pid ?? 0)
  expect(entry).toMatchObject({ pid: child.pid })
  expect(entry).not.toHaveProperty('marker', 'value')
  child.kill('SIGKILL')
})

test('callers at the same time share a snapshot, and a read that comes during another sees what is new', async () => {
  const table = createProcessTable(NAME)
  const running = table.read()
  const child = spawn('sleep', ['1000'])
  await once(child, 'spawn')
  const [next, shared] = [table.read(), table.read()]
  expect(await next).toBe(await shared)
  expect((await next).has(child.pid ?? 0)).toBe(true)
  await running
  expect(await table.recent(60_000)).toBe(await next)
  child.kill('SIGKILL')
})

test('lines of ps are read: states, times with days and hundredths, a marker in the environment', () => {
  const output = [
    '    1     0     1 Ss    9344   4:02.33 Mon Nov  2 09:14:05 2026 /sbin/launchd',
    `  501     1   501 S    20480 1-02:03:04 Sun Nov 29 21:33:03 2026 node server.js PATH=/bin ${NAME}=run-1 HOME=/`,
    '  502   501   501 Z        0   0:00.00 Sun Nov 29 21:33:04 2026 (node)',
    'no process',
  ].join('\n')
  const entries = parsePs(output, NAME)
  expect([...entries.keys()]).toEqual([1, 501, 502])
  expect(entries.get(1)).toMatchObject({ parent: 0, residentBytes: 9_344 * 1_024, cpuMs: 242_330, ended: false })
  expect(entries.get(501)).toEqual({
    pid: 501,
    parent: 1,
    group: 501,
    started: 'Sun Nov 29 21:33:03 2026',
    ended: false,
    residentBytes: 20_971_520,
    cpuMs: 93_784_000,
    marker: 'run-1',
  })
  expect(entries.get(502)?.ended).toBe(true)
})
