import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createVendorServer, SSE_HEADERS, sse } from '../support/vendor-server.ts'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const { directory, run } = commandLine
afterAll(() => commandLine.remove())

const TIMEOUT_MS = 120_000
const ESCAPE = '\u001b'
const STACK = /\n\s+at .+:\d+:\d+/

const write = (name: string, text: string) => writeFileSync(join(directory, name), text)

/** A vendor that speaks Chat Completions, configured as `local`. */
async function createLocalVendor() {
  const vendor = await createVendorServer()
  const chunk = (delta: object, finishReason: string | null = null) => ({
    id: 'c1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'tiny',
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  })
  return {
    vendor,
    answers: (text: string) =>
      vendor.answer({
        headers: SSE_HEADERS,
        body: sse(chunk({ role: 'assistant', content: text }), chunk({}, 'stop'), '[DONE]'),
      }),
    config: `providers:\n  local: { kind: openai-compatible, baseUrl: '${vendor.url}/v1' }\n`,
  }
}

describe('mistakes of a user', () => {
  test(
    'an unknown command is refused with a suggestion',
    async () => {
      const { exitCode, stdout, stderr } = await run(['runn', 'critique'])
      expect(exitCode).toBe(2)
      expect(stdout).toBe('')
      expect(stderr).toMatch(/^INPUT_INVALID: unknown command 'runn'\s+\(Did you mean run\?\)/)
      expect(stderr).not.toMatch(STACK)
    },
    TIMEOUT_MS,
  )

  test(
    'an unknown template is refused with a suggestion, as JSON with --json',
    async () => {
      const { exitCode, lines, stderr } = await run(['run', 'crtique', 'hi', '--json'])
      expect(exitCode).toBe(4)
      expect(lines).toHaveLength(1)
      expect(JSON.parse(lines[0] ?? '')).toMatchObject({
        type: 'failed',
        error: {
          code: 'TEMPLATE_NOT_FOUND',
          details: { suggestion: 'critique' },
          remedy: expect.stringContaining('polyphony templates'),
        },
      })
      expect(stderr).toMatch(/^TEMPLATE_NOT_FOUND: .*did you mean "critique"\?/)
    },
    TIMEOUT_MS,
  )

  test(
    'every problem of a definition file is reported with file, line and column',
    async () => {
      write(
        'bad.yaml',
        'name: bad\ntype: sequential\nsteps:\n  - id: one\n    model: openai/gpt-5.4\n    action: genrate\n    inputFrom: nobody\n',
      )
      const { exitCode, stderr } = await run(['check', 'bad.yaml'])
      expect(exitCode).toBe(2)
      expect(stderr).toMatch(/bad\.yaml:6:\d+: steps\[0\]\.action: .*did you mean "generate"/)
      expect(stderr).toMatch(/bad\.yaml:7:\d+: steps\[0\]\.inputFrom/)
      expect(stderr).not.toMatch(STACK)
    },
    TIMEOUT_MS,
  )

  test(
    'check warns of a mistyped model with its position in the file, and of a retired model, and still succeeds',
    async () => {
      const stepLine = (id: string, model: string) => `  - { id: ${id}, action: generate, model: ${model} }\n`
      const steps = stepLine('one', 'openai/gpt-6-soll') + stepLine('two', 'openai/gpt-4')
      write('models.yaml', `name: m\ntype: sequential\ninput: hi\nsteps:\n${steps}`)
      const { exitCode, stdout } = await run(['check', 'models.yaml'], { env: { OPENAI_API_KEY: 'sk-x' } })
      expect(stdout).toMatch(/^Warning: models\.yaml:5:\d+: steps\[0\]\.model: .*did you mean "gpt-6-sol"\?$/m)
      expect(stdout).toMatch(/^Warning: models\.yaml:6:\d+: steps\[1\]\.model: .*was shut down by openai on 2026-10-23/m)
      expect(exitCode).toBe(0)
    },
    TIMEOUT_MS,
  )

  test(
    'a run without a key names the variable to set, and starts nothing',
    async () => {
      const { exitCode, stdout, stderr } = await run(['run', 'critique', 'hi', '--database', 'memory://'])
      expect(exitCode).toBe(10)
      expect(stdout).toBe('')
      expect(stderr).toMatch(/^PROVIDER_NOT_CONFIGURED: .*"openai"/)
      expect(stderr).toContain('OPENAI_API_KEY')
    },
    TIMEOUT_MS,
  )

  test(
    'sharing without consent is refused before any call, with providers, output and flag',
    async () => {
      const { exitCode, stdout, stderr } = await run(['run', 'critique', 'hi', '--simulate', '--database', 'memory://'])
      expect(exitCode).toBe(8)
      expect(stdout).toBe('')
      expect(stderr).toMatch(/^DATA_SHARING_DENIED: /)
      expect(stderr).toContain('openai → anthropic: the output of "draft"')
      expect(stderr).toContain('--allow-sharing')
    },
    TIMEOUT_MS,
  )
})

describe('run', () => {
  test(
    '--json prints one object per line, every update first and the result last',
    async () => {
      const { exitCode, lines, stderr } = await run([
        ...['run', 'critique', 'Explain rain', '--simulate', '--allow-sharing', '--database', 'memory://'],
        ...['--json', '--set', 'rounds=1', '--max-cost', '5'],
      ])
      expect(stderr).toBe('')
      expect(exitCode).toBe(0)
      const values = lines.map((line) => JSON.parse(line))
      expect(values[0]).toMatchObject({ type: 'flow_start', seq: 1 })
      expect(values.filter(({ type }) => type === 'step_progress').length).toBeGreaterThan(0)
      expect(values.at(-2)).toMatchObject({ type: 'flow_complete' })
      expect(values.at(-1)).toMatchObject({ type: 'result', result: { status: 'COMPLETED', simulated: true } })
    },
    TIMEOUT_MS,
  )

  test(
    'text of a model reaches the terminal without escape sequences, and an unknown price is shown as unknown',
    async () => {
      const { vendor, answers, config } = await createLocalVendor()
      write('polyphony.yaml', config)
      write(
        'hostile.yaml',
        'name: hostile\ntype: sequential\nsteps:\n  - id: one\n    model: local/tiny\n    action: generate\n    prompt: "{{ original }} about {{ metadata.topic }}"\n',
      )
      answers(`safe ${ESCAPE}]0;owned\u0007${ESCAPE}[2Jtext\u009b31m\u202edone`)
      const { exitCode, stdout, stderr } = await run(
        ['run', 'hostile.yaml', '-', '--set', 'topic=rain', '--allow-sharing', '--database', 'memory://'],
        { stdin: 'A haiku' },
      )
      await vendor.close()
      write('polyphony.yaml', '')
      expect(stderr).toBe('')
      expect(exitCode).toBe(0)
      expect(JSON.stringify(vendor.requests[0]?.body)).toContain('A haiku about rain')
      expect(stdout).toContain('safe ]0;ownedtextdone')
      expect(stdout).not.toMatch(/(?![\t\n])\p{Cc}|\u202e/u)
      expect(stdout).toMatch(/^total +COMPLETED .*unknown/m)
      expect(stdout).not.toContain('$0')
    },
    TIMEOUT_MS,
  )

  test(
    'the first interrupt cancels the flow and prints the command that resumes it',
    async () => {
      const { vendor, config } = await createLocalVendor()
      write('polyphony.yaml', config)
      write('slow.yaml', 'name: slow\ntype: sequential\nsteps:\n  - id: one\n    model: local/tiny\n    action: generate\n')
      vendor.answer({ instead: 'hang' })
      let interrupted = false
      const { exitCode, lines, stderr } = await run(['run', 'slow.yaml', 'hi', '--json', '--database', 'memory://'], {
        onOutput(stdout, pid) {
          if (interrupted || !stdout.includes('step_start')) return
          interrupted = true
          process.kill(pid, 'SIGINT')
        },
      })
      await vendor.close()
      write('polyphony.yaml', '')
      expect(exitCode).toBe(21)
      const last = JSON.parse(lines.at(-1) ?? '')
      expect(last).toMatchObject({ type: 'failed', error: { code: 'FLOW_CANCELLED' } })
      expect(stderr).toContain(`polyphony flows resume ${last.error.details.flowId}`)
    },
    TIMEOUT_MS,
  )
})

test(
  'doctor warns of mistyped models of agents and prices, and still succeeds',
  async () => {
    const price = '{ inputPerMillion: 1, outputPerMillion: 1 }'
    write('polyphony.yaml', `agents: { writer: { model: openai/gpt-6-soll } }\nprices: { openai/gpt-6-lunna: ${price} }\n`)
    const { exitCode, stdout } = await run(['doctor', '--offline'], { env: { OPENAI_API_KEY: 'sk-x' } })
    rmSync(join(directory, 'polyphony.yaml'))
    expect(stdout).toMatch(/^! agent writer: .*did you mean "gpt-6-sol"\?$/m)
    expect(stdout).toMatch(/^! price openai\/gpt-6-lunna: .*did you mean "gpt-6-luna"\?$/m)
    expect(exitCode).toBe(0)
  },
  TIMEOUT_MS,
)

test(
  'doctor shows the source of every value and no key',
  async () => {
    const env = { OPENAI_API_KEY: 'sk-very-secret', DATABASE_URL: 'pglite://missing/here' }
    const { exitCode, stdout, stderr } = await run(['doctor', '--offline'], { env })
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/providers\.openai\.apiKey +set +\(OPENAI_API_KEY\)/)
    expect(stdout).toContain('provider openai: openai at https://api.openai.com')
    expect(stdout).toContain('missing/here does not exist yet')
    expect(stdout + stderr).not.toContain('very-secret')
  },
  TIMEOUT_MS,
)
