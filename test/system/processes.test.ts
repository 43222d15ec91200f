import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { findProcessFacts, isProcessRunning } from '../../src/system/processes.ts'

test('this process runs, and a process that has exited does not', () => {
  const { pid } = spawnSync(process.execPath, ['--version'])
  expect(isProcessRunning(process.pid)).toBe(true)
  expect(isProcessRunning(pid)).toBe(false)
})

test.runIf(process.platform === 'linux')('the facts of a running process name its boot and start time', () => {
  expect(findProcessFacts(process.pid)).toMatchObject({
    started: expect.stringMatching(/^[-\w]+\/\d+$/),
    ending: false,
    ended: false,
  })
})

test('a process that does not exist has no facts', () => {
  expect(findProcessFacts(2 ** 30)).toBeUndefined()
})
