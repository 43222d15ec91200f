import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const { directory, run } = commandLine
afterAll(() => commandLine.remove())

const TIMEOUT_MS = 240_000

writeFileSync(
  join(directory, 'ask.yaml'),
  `name: ask
type: sequential
steps:
  - { id: draft, model: openai/gpt-6-sol, action: generate }
  - id: ok
    action: approve
    approval: { prompt: "Is it fine?" }
  - { id: paid, action: wait, event: paid, correlation: order 7 }
`,
)

test(
  'without a terminal a flow that waits ends with the code of FLOW_PAUSED, and further commands let it go on to its end',
  async () => {
    const started = await run(['run', 'ask.yaml', 'Why is the sky blue?', '--simulate'])
    expect(started.exitCode).toBe(26)
    const [, flowId = ''] = /polyphony flows approve (\S+) ok/.exec(started.stderr) ?? []
    expect(started.stderr).toContain('FLOW_PAUSED')

    const waiting = await run(['flows', 'waiting', '--json'])
    const { hash, ...step } = JSON.parse(waiting.lines[0] ?? '')
    expect(step).toMatchObject({ flowId, path: 'ok', prompt: 'Is it fine?', mayAnswer: true })

    const stale = await run(['flows', 'approve', flowId, 'ok', '--hash', 'stale', '--simulate'])
    expect(stale.exitCode).toBe(5)
    const approved = await run(['flows', 'approve', flowId, 'ok', '--edit', 'my text', '--hash', hash, '--simulate'])
    // The flow waits again, for an event.
    expect(approved.exitCode).toBe(26)
    expect(approved.stderr).toContain("polyphony flows signal-event paid --correlation 'order 7'")
    const twice = await run(['flows', 'reject', flowId, 'ok', '--simulate'])
    expect([twice.exitCode, twice.stderr]).toEqual([5, expect.stringContaining('APPROVAL_DECIDED')])

    const paid = await run(['flows', 'signal-event', 'paid', '--correlation', 'order 7', '--data', '{"amount":5}', '--simulate'])
    expect(paid.exitCode).toBe(0)
    expect(paid.stdout).toContain('my text')
    const malformed = await run(['flows', 'signal-event', 'paid', '--data', '{'])
    expect([malformed.exitCode, malformed.stderr]).toEqual([2, expect.stringContaining('expected JSON')])
  },
  TIMEOUT_MS,
)
