import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lockDirectory } from '../../src/repositories/postgres/embedded/directory-lock.ts'
import { type CommandLineResult, createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const { directory, run } = commandLine
const TIMEOUT_MS = 120_000

let demo: CommandLineResult
beforeAll(async () => {
  demo = await run(['demo'])
}, TIMEOUT_MS)
afterAll(() => commandLine.remove())

test('the demo runs to its answer without a key or a question, in plain lines', () => {
  expect(demo.stderr).toBe('')
  expect(demo.exitCode).toBe(0)
  expect(demo.stdout).not.toContain('\u001b')
  expect(demo.stdout).toContain('SIMULATED')
  expect(demo.stdout).toMatch(/^Answer \(simulated\)$/m)
})

test('the demo shows the planted fault, the review that finds it, the 429 that is retried, and the corrected text', () => {
  const [, draft = '', critique = '', answer = ''] = demo.stdout.split(
    /^(?:Draft|Review by the critic|Answer)\b.*\(simulated\)$/m,
  )
  expect(draft).toContain('colour from the oceans')
  expect(critique).toContain('is false')
  expect(critique).toContain('PROVIDER_RATE_LIMITED')
  expect(answer).toContain('Rayleigh scattering')
  expect(answer).not.toContain('mirrors like a giant ceiling')
})

test('the demo never shows what was simulated as an amount of money', () => {
  expect(demo.stdout).toMatch(/^draft .* simulated +\d/m)
  expect(demo.stdout).toMatch(/^total .* simulated +\d/m)
  expect(demo.stdout).not.toContain('$')
})

test(
  'a run of the demo is listed, and the command that the demo prints shows every attempt',
  async () => {
    const [, flowId = ''] = /polyphony flows show (\S+)/.exec(demo.stdout) ?? []
    const list = await run(['flows', 'list', '--json'])
    expect(list.lines.map((line) => JSON.parse(line))).toMatchObject([{ id: flowId, status: 'COMPLETED', simulated: true }])
    const show = await run(['flows', 'show', flowId])
    expect(show.exitCode).toBe(0)
    expect(show.stdout).toMatch(/^critique +1 .*PROVIDER_RATE_LIMITED$/m)
    expect(show.stdout).toMatch(/^critique +2 .*ok$/m)
  },
  TIMEOUT_MS,
)

test(
  'a rerun from a later step calls the model for that step only, and keeps the results before it',
  async () => {
    const [, flowId = ''] = /polyphony flows show (\S+)/.exec(demo.stdout) ?? []
    const words = ['flows', 'rerun', flowId, '--from', 'refine', '--simulate', '--json']
    const refused = await run(words)
    expect(refused.exitCode, 'the consent of the demo does not count for the local user').toBe(8)
    const { exitCode, lines } = await run([...words, '--allow-sharing'])
    expect(exitCode).toBe(0)
    const updates = lines.map((line) => JSON.parse(line))
    expect(updates.filter(({ type }) => type === 'step_start').map(({ stepId }) => stepId)).toEqual(['refine'])
    expect(updates.at(-1)).toMatchObject({
      type: 'result',
      result: { steps: [{ stepId: 'draft' }, { stepId: 'critique' }, { stepId: 'refine' }] },
    })
  },
  TIMEOUT_MS,
)

test(
  'a database directory that another process uses is refused with the pid of that process and a remedy',
  async () => {
    mkdirSync(join(directory, 'busy'))
    const lock = await lockDirectory(join(directory, 'busy'))
    const { exitCode, stderr } = await run(['demo', '--database', 'pglite://busy'])
    await lock.release()
    expect(exitCode).toBe(18)
    expect(stderr).toMatch(/^DATABASE_LOCKED: /)
    expect(stderr).toContain(`process ${process.pid}`)
    expect(stderr).toContain('Another process uses this embedded database')
  },
  TIMEOUT_MS,
)
