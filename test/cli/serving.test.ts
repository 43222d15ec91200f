import { beforeEach, expect, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import type { CommandServices } from '../../src/cli/services.ts'
import { loadConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'

const opened: string[] = []
let given: PolyphonyConfigInput = {}

/** Opening ends the command: what is tested is whether it comes that far. */
const open = (what: string) => async (): Promise<never> => {
  opened.push(what)
  throw new Error(`${what} was opened`)
}
const services = {
  loadConfig: (flags: PolyphonyConfigInput) => loadConfig(given, { flags, env: {}, cwd: '/nonexistent' }),
  open: open('a worker'),
  serve: open('a server'),
} as unknown as CommandServices
const terminal = { print: () => undefined, printJson: () => undefined }

beforeEach(() => {
  opened.length = 0
  given = { database: 'postgres://localhost/flows' }
})

async function run(...words: readonly string[]): Promise<string> {
  const program = createProgram((json) => ({ services, terminal, json }) as never)
  return program.parseAsync(words, { from: 'user' }).then(
    () => '',
    (error: Error) => error.message,
  )
}

const COMMANDS = [
  { words: ['serve', '--workers', '2'], option: '--workers', opens: 'a server' },
  { words: ['worker', '--concurrency', '2'], option: 'polyphony worker', opens: 'a worker' },
]

test.each(COMMANDS)('$option is refused where no process queues flows for workers', async ({ words, option }) => {
  const message = await run(...words)
  expect(message).toContain(`${option}: expected engine "bullmq"`)
  expect(message).toContain('POLYPHONY_ENGINE=bullmq')
  expect(opened).toEqual([])
})

test.each(
  COMMANDS.flatMap((command) =>
    [{ engine: 'bullmq' as const }, { maxRunningFlows: { perUser: 1 } }, { takesFlows: false }].map((config) => ({
      ...command,
      config,
    })),
  ),
)('$option is accepted with $config', async ({ words, opens, config }) => {
  given = { ...given, ...config }
  expect(await run(...words)).toBe(`${opens} was opened`)
})

test('a server without workers needs no engine of its own', async () => {
  expect(await run('serve')).toBe('a server was opened')
})

test('--workers is refused for a database that one process can open', async () => {
  given = { database: 'memory://', engine: 'bullmq' }
  expect(await run('serve', '--workers', '1')).toContain('--workers: expected a database that several processes can open')
})
