import { readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { LogLine } from '../../../src/services/service.ts'
import { createProcessWorld, nodeProgram, type ProcessWorld, stopRun, until } from '../process-world.ts'

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

const logPath = (id = 'one', suffix = '') => join(world.dataDir, 'logs', `${id}.log${suffix}`)
async function collect(lines: AsyncIterable<LogLine>): Promise<LogLine[]> {
  const all: LogLine[] = []
  for await (const line of lines) all.push(line)
  return all
}

test('the file holds what was written byte for byte; what is shown is valid and cut', async () => {
  const longest = 1_000_000
  const driver = world.openDriver()
  const { run, lines } = await world.start(driver, world.serviceOf(nodeProgram('hostile-output.mjs', String(longest))))
  await run.ended
  const expected = Buffer.concat([
    Buffer.alloc(longest, 'y'),
    Buffer.from([0x0a, 0xff, 0xfe, 0x00, 0x62, 0x0a]),
    Buffer.from('\u001b[31mred\u001b[0m \u001b]0;title\u0007\r\nno line feed'),
  ])
  expect(readFileSync(logPath()).equals(expected)).toBe(true)
  const shown = await collect(driver.logs('one'))
  expect(shown[0]).toEqual({ text: 'y'.repeat(65_536), cut: true })
  expect(shown.slice(1)).toEqual([{ text: '\ufffd\ufffdb' }, { text: 'red ' }, { text: 'no line feed' }])
  expect(lines).toEqual(shown.map(({ text }) => text))
})

test('a flood is kept within its files with its last line, and the service ends by itself', async () => {
  const maxBytes = 1_000_000
  const driver = world.openDriver({ logs: { maxBytes, keep: 2 } })
  const { run } = await world.start(driver, world.serviceOf(nodeProgram('flood.mjs', String(20_000_000))))
  expect(await run.ended).toMatchObject({ code: 0 })
  const sizes = ['', '.1', '.2'].map((suffix) => statSync(logPath('one', suffix)).size)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(maxBytes)
  expect(await collect(driver.logs('one', { lines: 2 }))).toEqual([{ text: 'x'.repeat(999) }, { text: 'the last line' }])
})

test('a full disk costs lines and not the service, and writing resumes', async () => {
  const dropped: { id: string; bytes: number }[] = []
  let isFull = false
  const driver = world.openDriver({
    onLogDropped: (report) => dropped.push(report),
    writeLog: (fd, bytes) => {
      if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      return writeSync(fd, bytes)
    },
  })
  const { run, lines, ready } = await world.start(driver, world.serviceOf(nodeProgram('numbers.mjs', '500')))
  await ready()
  isFull = true
  await until('bytes are dropped', () => dropped.length > 0)
  const seen = lines.length
  await until('the service writes on', () => lines.length > seen + 50)
  isFull = false
  const size = statSync(logPath()).size
  await until('writing has resumed', () => statSync(logPath()).size > size)
  await stopRun(run)
  const lost = Buffer.byteLength(`${lines.join('\n')}\n`) - statSync(logPath()).size
  expect(dropped.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(lost)
  expect(dropped[0]?.id).toBe('one')
})

test('a log is streamed while it is written, through rotations, until the signal aborts', async () => {
  const driver = world.openDriver({ logs: { maxBytes: 20_000, keep: 5 } })
  const { run } = await world.start(driver, world.serviceOf(nodeProgram('numbers.mjs', '1000')))
  const abort = new AbortController()
  const numbers: number[] = []
  for await (const { text } of driver.logs('one', { lines: 0, follow: true, signal: abort.signal })) {
    numbers.push(Number(text.slice('line '.length)))
    if (numbers.length === 5_000) abort.abort()
  }
  const first = numbers[0] ?? 0
  expect(numbers).toEqual(numbers.map((_, index) => first + index))
  await stopRun(run)
})

test('a program may open /dev/stdout', async () => {
  const driver = world.openDriver()
  const { run, lines } = await world.start(driver, world.serviceOf(['sh', '-c', 'echo reopened > /dev/stdout; echo error >&2']))
  expect(await run.ended).toMatchObject({ code: 0 })
  expect(lines).toEqual(['reopened', 'error'])
})
