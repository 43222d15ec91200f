import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { expect, onTestFinished, test } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { createCommandLine, POLYPHONY } from '../../cli/command-line.ts'
import { createVendorServer } from '../../support/vendor-server.ts'
import { type Mode, REVISIONS, type ToolUser, toToolUser } from './mcp-client.ts'

const TIMEOUT_MS = 120_000
const IN_MEMORY = ['--database', 'memory://']
const ONE_STEP = {
  name: 'one step',
  type: 'sequential',
  steps: [{ id: 'only', model: 'openai/gpt-6-luna', action: 'generate', prompt: 'original' }],
} as const satisfies FlowDefinitionInput

/** A machine with this polyphony.yaml. */
function createMachine(config: string) {
  const machine = createCommandLine()
  onTestFinished(() => machine.remove())
  writeFileSync(join(machine.directory, 'polyphony.yaml'), config)
  const isLocked = () => existsSync(join(machine.directory, '.polyphony', 'data.lock'))
  const env = { PATH: process.env.PATH ?? '', HOME: machine.directory }
  return { ...machine, env, isLocked }
}

async function connectStdio({ directory, env }: ReturnType<typeof createMachine>, mode: Mode, words: readonly string[] = []) {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  const transport = new StdioClientTransport({
    command: POLYPHONY.command,
    args: [...POLYPHONY.args, 'mcp', ...words],
    cwd: directory,
    env,
    stderr: 'pipe',
  })
  let stderr = ''
  transport.stderr?.on('data', (bytes: Buffer) => {
    stderr += bytes.toString('utf8')
  })
  onTestFinished(() => client.close())
  await client.connect(transport)
  return { ...(await toToolUser(client)), stderr: () => stderr }
}

/** The process itself, with lines in and out. */
function spawnMcp({ directory, env }: ReturnType<typeof createMachine>, words: readonly string[] = []) {
  const child = spawn(POLYPHONY.command, [...POLYPHONY.args, 'mcp', ...words], { cwd: directory, env })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: string[] = []
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const send = (message: unknown) => child.stdin.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
  const answerTo = async (id: number): Promise<Record<string, unknown>> => {
    const find = () => lines.map((line) => JSON.parse(line)).find((message) => message.id === id)
    await expect.poll(find, { timeout: TIMEOUT_MS }).toBeDefined()
    return find()
  }
  return { child, lines, ended, send, answerTo, stderr: () => stderr }
}

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}
const toolCall = (id: number, name: string, given: object, meta = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: given, _meta: meta },
})

async function runOneStep({ call }: ToolUser) {
  const told: number[] = []
  const done = await call(
    'start_flow',
    { definition: ONE_STEP, input: 'Why is the sky blue?', waitMs: 30_000 },
    { onprogress: ({ progress }) => told.push(progress) },
  )
  expect(done.value).toMatchObject({ status: 'COMPLETED', ended: true, simulated: true })
  expect(told.length).toBeGreaterThan(0)
  expect(told).toEqual([...new Set(told)].sort((a, b) => a - b))
}

test.each(REVISIONS)(
  'an official client of revision $revision starts the program and runs a flow to its answer',
  async ({ revision, mode }) => {
    const user = await connectStdio(createMachine(''), mode, ['--simulate', ...IN_MEMORY])
    expect(user.client.getNegotiatedProtocolVersion()).toBe(revision)
    expect((await user.call('list_templates')).text).toContain('critique')
    expect(await user.call('get_flow', { flowId: 'nothing' })).toMatchObject({ isError: true, code: 'FLOW_NOT_FOUND' })
    await runOneStep(user)
    expect(user.stderr()).toBe('')
  },
  TIMEOUT_MS,
)

test(
  'the embedded database is held from the first call that needs it to the end of the client, and no longer',
  async () => {
    const machine = createMachine('simulator: true\n')
    // This client starts a second process to ask what the server speaks.
    const user = await connectStdio(machine, 'auto')
    await user.client.listTools()
    expect(machine.isLocked()).toBe(false)
    await runOneStep(user)
    expect(machine.isLocked()).toBe(true)
    await user.client.close()
    await expect.poll(machine.isLocked, { timeout: TIMEOUT_MS }).toBe(false)
  },
  TIMEOUT_MS,
)

test(
  'the official client cancels a call, and the flow continues',
  async () => {
    const vendor = await createVendorServer()
    onTestFinished(() => vendor.close())
    vendor.answer({ instead: 'hang' })
    const machine = createMachine(`providers:\n  openai: { baseUrl: '${vendor.url}/v1', apiKey: k }\n`)
    const { call } = await connectStdio(machine, 'legacy', IN_MEMORY)
    const asked = vendor.nextIdle()
    const { flowId } = (await call('start_flow', { definition: ONE_STEP, input: 'x' })).value
    await asked
    const cancelling = new AbortController()
    const told: unknown[] = []
    const waiting = call('follow_flow', { flowId }, { signal: cancelling.signal, onprogress: (one) => told.push(one) })
    await expect.poll(() => told.length).toBe(1)
    cancelling.abort()
    await expect(waiting).rejects.toThrow()
    expect((await call('get_flow', { flowId })).value).toMatchObject({ status: 'RUNNING' })
    expect((await call('cancel_flow', { flowId })).value).toMatchObject({ status: 'CANCELLED' })
  },
  TIMEOUT_MS,
)

test(
  'stdout carries only the protocol, whatever the input, and the program ends with stdin',
  async () => {
    const machine = createMachine('simulator: true\nlogLevel: debug\n')
    const { child, lines, ended, send, answerTo, stderr } = spawnMcp(machine, IN_MEMORY)
    send(INITIALIZE)
    send({ jsonrpc: '2.0', method: 'notifications/initialized' })
    await answerTo(0)
    for (const garbage of ['', 'hello', '{"a":', '[]', '1', 'null', '{"jsonrpc":"2.0","id":7}', 'a secret line of nobody'])
      send(garbage)
    send(toolCall(1, 'start_flow', { definition: ONE_STEP, input: 'x', waitMs: 30_000 }, { progressToken: 'p' }))
    send(toolCall(2, 'start_flow', { definition: 1 }))
    expect(await answerTo(1)).toMatchObject({ result: { structuredContent: { status: 'COMPLETED' } } })
    expect(await answerTo(2)).toMatchObject({ result: { isError: true } })
    child.stdin.end()
    expect(await ended).toBe(0)
    const messages = lines.map((line) => JSON.parse(line))
    for (const message of messages) expect(message).toMatchObject({ jsonrpc: '2.0' })
    const told = messages.filter(({ method }) => method === 'notifications/progress')
    expect(told.length).toBeGreaterThan(1)
    expect(told.at(-1)).toMatchObject({ params: { progressToken: 'p', progress: 100, total: 100 } })
    expect(stderr()).not.toMatch(/secret|\n\s+at /)
  },
  TIMEOUT_MS,
)

test.each([
  ['SIGTERM', []],
  ['SIGINT', IN_MEMORY],
] as const)(
  '%s ends the program while a flow runs and a call waits, with the database closed and the flow kept',
  async (signal, words) => {
    const vendor = await createVendorServer()
    onTestFinished(() => vendor.close())
    vendor.answer({ instead: 'hang' })
    const machine = createMachine(`providers:\n  openai: { baseUrl: '${vendor.url}/v1', apiKey: k }\n`)
    const { child, ended, send, answerTo, stderr } = spawnMcp(machine, words)
    const asked = vendor.nextIdle()
    send(INITIALIZE)
    send(toolCall(1, 'start_flow', { definition: ONE_STEP, input: 'x', waitMs: 60_000 }))
    await asked
    expect(await answerTo(0)).toBeDefined()
    child.kill(signal)
    expect(await ended).toBe(0)
    expect(machine.isLocked()).toBe(false)
    expect(stderr()).not.toMatch(/\n\s+at /)
    if (words.length === 0) expect((await machine.run(['flows', 'list', '--json'])).stdout).toContain('"one step"')
  },
  TIMEOUT_MS,
)

test(
  'the database is closed when the client disconnects during a call',
  async () => {
    const machine = createMachine('simulator: true\n')
    const { child, ended, send, answerTo } = spawnMcp(machine)
    send(INITIALIZE)
    send(toolCall(1, 'list_flows', { threadId: 'nothing' }))
    await answerTo(1)
    expect(machine.isLocked()).toBe(true)
    // Nobody reads any more, and then nobody writes either.
    child.stdout.destroy()
    send(toolCall(2, 'list_templates', {}))
    child.stdin.end()
    expect(await ended).toBe(0)
    expect(machine.isLocked()).toBe(false)
  },
  TIMEOUT_MS,
)

test(
  'an invalid configuration is the error of the tool call and does not end the process',
  async () => {
    const machine = createMachine('simulator: perhaps\n')
    const { call, client } = await connectStdio(machine, 'legacy', IN_MEMORY)
    const answer = await call('list_providers')
    expect(answer).toMatchObject({ isError: true, code: 'CONFIG_INVALID' })
    expect(answer.text).toContain('simulator: expected boolean')
    writeFileSync(join(machine.directory, 'polyphony.yaml'), 'simulator: true\n')
    expect(await call('list_providers')).toMatchObject({ isError: false })
    await client.close()
  },
  TIMEOUT_MS,
)
