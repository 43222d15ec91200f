import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { endLeftProcesses } from '../support/left-processes.ts'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const { directory, run } = commandLine
const TIMEOUT_MS = 120_000
// Services inherit both variables, so that every process of a test is found, and its folder.
const env = { TMPDIR: directory }

afterEach(async () => {
  expect(await endLeftProcesses('HOME', directory), 'processes left behind').toEqual([])
  expect(readdirSync(directory).filter((name) => name.startsWith('polyphony-demo-'))).toEqual([])
})
afterAll(() => commandLine.remove())

test('the demo of services kills a server in the middle of a flow, which completes', { timeout: TIMEOUT_MS }, async () => {
  const { stdout, stderr, exitCode } = await run(['demo', 'services', '--json'], { env })
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  const figures: unknown = JSON.parse(stdout)
  expect(figures).toMatchObject({ status: 'COMPLETED', drafts: 6, restarts: 1, costUsd: 0 })
  expect(figures).toHaveProperty('lost')
})

test('the demo of services shows its drafts and that everything is ended', { timeout: TIMEOUT_MS }, async () => {
  const { stdout } = await run(['demo', 'services'], { env })
  expect(stdout).toMatch(/writer-1 was killed with SIGKILL while it wrote \d of them/)
  expect(stdout).toMatch(/writer-2 .*, after writer-1: PROVIDER_/)
  expect(stdout).toMatch(/6 of 6 drafts are complete after \d+ calls; they cost 0 US dollars/)
})

test('Ctrl-C ends the demo of services with its servers and its folder', { timeout: TIMEOUT_MS }, async () => {
  let isSent = false
  const { exitCode, stdout } = await run(['demo', 'services'], {
    env,
    onOutput(shown, pid) {
      if (isSent || !shown.includes('A flow asks')) return
      isSent = true
      process.kill(pid, 'SIGINT')
    },
  })
  expect(exitCode).not.toBe(0)
  expect(stdout).not.toContain('drafts are complete')
})

test('doctor lists a service that answers steps and does not start it', { timeout: TIMEOUT_MS }, async () => {
  const folder = join(directory, 'services')
  mkdirSync(folder)
  const provider = { kind: 'openai-compatible', path: '/v1' }
  const service = { id: 'writer-1', type: 'llm', executable: ['sleep', '60'], endpoint: 'http://127.0.0.1:9', provider }
  writeFileSync(join(folder, 'writer-1.json'), JSON.stringify(service), { mode: 0o600 })
  const { lines, exitCode } = await run(['doctor', '--offline'], { env })
  expect(lines).toContainEqual(expect.stringMatching(/provider writer-1: openai-compatible of a service/))
  expect(exitCode).toBe(0)
})
