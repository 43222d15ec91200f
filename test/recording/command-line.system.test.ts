import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createCommandLine } from '../cli/command-line.ts'

const TIMEOUT_MS = 120_000

const commandLine = createCommandLine()
afterAll(() => commandLine.remove())
const { run, directory } = commandLine

const WORDS = ['run', 'critique', 'Explain rain', '--no-stream']

/** The result that `--json` prints last, without times. */
function resultOf(lines: readonly string[]): unknown {
  const times = new Set(['startedAt', 'completedAt', 'executedAt', 'executionTime', 'totalExecutionTime'])
  return JSON.parse(lines.at(-1) ?? '', (name, value) => (times.has(name) ? undefined : value))
}

test(
  'a run that was recorded is replayed without simulator, consent and database, to the same ids and figures',
  async () => {
    const recorded = await run([
      ...WORDS,
      '--simulate',
      '--allow-sharing',
      '--database',
      'memory://',
      '--record',
      'calls',
      '--json',
    ])
    expect(recorded.stderr).toBe('Recording all requests and answers to calls.\n')
    expect(recorded.exitCode).toBe(0)

    const replayed = await run([...WORDS, '--replay', 'calls', '--json'])
    expect(replayed.stderr).toBe('REPLAYED: calls answers; nothing is sent or paid, and costs are those of the recording.\n')
    expect(replayed.exitCode).toBe(0)
    expect(resultOf(replayed.lines)).toEqual(resultOf(recorded.lines))
    expect(existsSync(join(directory, '.polyphony'))).toBe(false)

    const shown = await run([...WORDS, '--replay', 'calls'])
    expect(shown.lines[0]).toMatch(/^ REPLAYED {2}calls answers/)

    const changed = await run(['run', 'critique', 'Explain snow', '--replay', 'calls'])
    expect(changed.exitCode).toBe(14)
    expect(changed.stderr).toMatch(/^NOT_RECORDED: .* differs in messages\[0\]\.content/m)
    expect(changed.stderr).not.toContain('Explain')
  },
  TIMEOUT_MS,
)

test(
  'recording and replaying at once, and replaying from a directory without a recording, are refused',
  async () => {
    const both = await run([...WORDS, '--record', 'a', '--replay', 'b'])
    expect(both.exitCode).toBe(2)
    expect(both.stderr).toContain('--record')
    const none = await run([...WORDS, '--replay', 'nothing-here'])
    expect(none.exitCode).toBe(3)
    expect(none.stderr).toMatch(/^CONFIG_INVALID: recording\.jsonl: expected a recording made with --record/)
  },
  TIMEOUT_MS,
)
