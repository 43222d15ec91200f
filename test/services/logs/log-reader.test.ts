import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLogFile } from '../../../src/services/logs/log-file.ts'
import { type LogReaderOptions, readLog } from '../../../src/services/logs/log-reader.ts'

let directory: string
let path: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'polyphony-log-'))
  path = join(directory, 'a.log')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const options = (more: Partial<LogReaderOptions> = {}): LogReaderOptions => ({
  path,
  keep: 2,
  lines: 100,
  follow: false,
  changed: async () => {},
  ...more,
})
async function textsOf(more: Partial<LogReaderOptions>): Promise<string[]> {
  const texts: string[] = []
  for await (const { text } of readLog(options(more))) texts.push(text)
  return texts
}

test('the last lines are read over the boundaries of files, oldest first', async () => {
  writeFileSync(`${path}.2`, 'one\ntwo\nth')
  writeFileSync(`${path}.1`, 'ree\nfour\n')
  writeFileSync(path, 'five\nsix')
  expect(await textsOf({})).toEqual(['one', 'two', 'three', 'four', 'five', 'six'])
  expect(await textsOf({ lines: 4 })).toEqual(['three', 'four', 'five', 'six'])
  expect(await textsOf({ lines: 2 })).toEqual(['five', 'six'])
  expect(await textsOf({ lines: 0 })).toEqual([])
  appendFileSync(path, '\n')
  expect(await textsOf({ lines: 1 })).toEqual(['six'])
})

test('a service without a log has no lines', async () => {
  expect(await textsOf({})).toEqual([])
})

test('a few lines of a large log are found from its end', async () => {
  const count = 200_000
  writeFileSync(path, Array.from({ length: count }, (_, index) => `line ${index}\n`).join(''))
  expect(await textsOf({ lines: 3 })).toEqual([`line ${count - 3}`, `line ${count - 2}`, `line ${count - 1}`])
})

test('with follow every later line is read, over rotations, until the signal aborts', async () => {
  writeFileSync(path, 'old\nlast\n')
  const abort = new AbortController()
  const steps = [
    () => appendFileSync(path, 'half '),
    () => appendFileSync(path, 'line\n'),
    () => {
      appendFileSync(path, 'before the rotation\n')
      renameSync(path, `${path}.1`)
      writeFileSync(path, 'after it\n')
    },
    () => {
      renameSync(`${path}.1`, `${path}.2`)
      renameSync(path, `${path}.1`)
      writeFileSync(path, 'after another\n')
    },
    () => abort.abort(),
  ]
  const texts = await textsOf({ lines: 1, follow: true, signal: abort.signal, changed: async () => steps.shift()?.() })
  expect(texts).toEqual(['last', 'half line', 'before the rotation', 'after it', 'after another'])
})

test('a reader that opens the files while they are rotated misses none of them', async () => {
  const count = 2_100
  const abort = new AbortController()
  const file = createLogFile({ path, maxBytes: 20, keep: 15, onDropped: () => undefined })
  let written = 0
  let read = 0
  const writing = (async () => {
    while (written < count && !abort.signal.aborted) {
      // Each rotation meets another moment of the reader.
      for (let turns = written % 37; turns >= 0; turns--) await nextTurn()
      // The oldest file must not go before it is read.
      for (let line = 0; line < 7 && written - read < 30; line++) file.write(Buffer.from(`${written++}\n`))
    }
  })()
  const given = options({
    keep: 15,
    lines: 1_000,
    follow: true,
    signal: abort.signal,
    changed: async () => void (await nextTurn()),
  })
  try {
    for await (const { text } of readLog(given)) {
      expect(text).toBe(String(read++))
      if (read === count) abort.abort()
    }
  } finally {
    abort.abort()
  }
  await writing
  file.close()
})

test('the first rotation, at whatever moment of the opening, hides no line', async () => {
  for (let turns = 0; turns < 200; turns++) {
    rmSync(`${path}.1`, { force: true })
    writeFileSync(path, 'one\n')
    const reading = textsOf({ keep: 5 })
    for (let turn = turns % 50; turn > 0; turn--) await nextTurn()
    renameSync(path, `${path}.1`)
    writeFileSync(path, 'two\n')
    expect((await reading)[0]).toBe('one')
  }
})
