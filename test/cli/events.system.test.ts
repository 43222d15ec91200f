import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Polyphony } from '../../src/polyphony.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const TIMEOUT_MS = 120_000

let database: TestPostgres
let polyphony: Polyphony
beforeAll(async () => {
  database = await openTestPostgres()
  polyphony = await openTestPolyphony({ database: database.url })
})
afterAll(async () => {
  commandLine.remove()
  await polyphony?.close()
  await database?.drop()
})

const publish = (type: string, correlationId: string) =>
  polyphony.events.publish({ type, source: 'shop', subject: 'order\u001b[31m', correlationId, data: { amount: 12 } })

test(
  'stored events are listed by type and correlation id, and their texts cannot act on the terminal',
  async () => {
    await publish('order_paid', 'one')
    await publish('order_sent', 'two')
    await publish('other', 'one')
    const events = (...words: string[]) => commandLine.run(['events', ...words, '--database', database.url])
    const listed = await events('--type', 'order_*')
    expect([listed.stderr, listed.exitCode]).toEqual(['', 0])
    expect(listed.lines).toHaveLength(2)
    expect(listed.lines[0]).toMatch(/^\S+Z {2}1 {2}order_paid {2}shop {2}order.* {2}normal {2}\{"amount":12\}$/)
    expect(listed.stdout).not.toContain('\u001b')
    const found = await events('--correlation', 'one', '--after', '1', '--json')
    expect(found.lines.map((line) => JSON.parse(line).type)).toEqual(['other'])
    expect((await events('--type', 'nothing')).stdout).toBe('No events.\n')
  },
  TIMEOUT_MS,
)

test(
  'events of other processes are followed until the command is ended',
  async () => {
    let isEnded = false
    const following = commandLine
      .run(['events', '--follow', '--type', 'order_*', '--json', '--database', database.url], {
        onOutput: (_, pid) => {
          if (!isEnded) process.kill(pid, 'SIGTERM')
          isEnded = true
        },
      })
      .finally(() => {
        isEnded = true
      })
    // The command may be about to connect, so events are published until it has printed one.
    while (!isEnded) {
      await publish('order_paid', 'followed')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const { lines, exitCode } = await following
    expect(exitCode).toBe(0)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ type: 'order_paid', correlationId: 'followed', data: { amount: 12 } })
  },
  TIMEOUT_MS,
)

test(
  'an embedded database cannot be followed, because no other process publishes into it',
  async () => {
    const { stderr, exitCode } = await commandLine.run(['events', '--follow', '--database', 'memory://'])
    expect(exitCode).toBe(3)
    expect(stderr).toContain('a running server or postgres://')
  },
  TIMEOUT_MS,
)

test(
  'events of a running server are listed and followed over HTTP, although its database belongs to it alone',
  async () => {
    const started = await commandLine.run(['up', '--simulate', '--database', 'memory://', '--port', '0', '--json'])
    onTestFinished(async () => {
      await commandLine.run(['down', '--timeout', '10000'])
    })
    expect(started.exitCode, started.stderr).toBe(0)
    const { url }: { readonly url: string } = JSON.parse(started.stdout)
    const send = (type: string, correlationId: string) =>
      fetch(`${url}/api/v1/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ type, correlationId, data: { amount: 12 } }),
      })
    for (const [type, correlationId] of [
      ['order_paid', 'one'],
      ['order_sent', 'two'],
      ['other', 'one'],
    ] as const)
      expect((await send(type, correlationId)).status).toBe(201)
    const typesOf = async (...words: string[]) => {
      const { lines, stderr, exitCode } = await commandLine.run(['events', '--json', ...words])
      expect([stderr, exitCode]).toEqual(['', 0])
      return lines.map((line) => JSON.parse(line).type)
    }
    expect(await typesOf('--type', 'order_*')).toEqual(['order_paid', 'order_sent'])
    expect(await typesOf('--correlation', 'one')).toEqual(['order_paid', 'other'])
    expect(await typesOf('--after', '1', '--limit', '1')).toEqual(['order_sent'])
    expect(await typesOf('--limit', '5000')).toHaveLength(3)

    let isEnded = false
    const following = commandLine
      .run(['events', '--follow', '--type', 'order_*', '--json'], {
        onOutput: (_, pid) => {
          if (!isEnded) process.kill(pid, 'SIGTERM')
          isEnded = true
        },
      })
      .finally(() => {
        isEnded = true
      })
    while (!isEnded) {
      await send('order_paid', 'followed')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const { lines, stderr, exitCode } = await following
    expect([stderr, exitCode]).toEqual(['', 0])
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ type: 'order_paid', correlationId: 'followed', data: { amount: 12 } })
  },
  TIMEOUT_MS,
)

test(
  'a follower joins the next server of the folder after the last event that it printed, and prints each once',
  async () => {
    const up = async () => {
      const { stdout, stderr, exitCode } = await commandLine.run(['up', '--simulate', '--port', '0', '--json'])
      expect(exitCode, stderr).toBe(0)
      const { url }: { readonly url: string } = JSON.parse(stdout)
      return url
    }
    const down = () => commandLine.run(['down', '--timeout', '10000'])
    let url = await up()
    onTestFinished(async () => void (await down()))
    const send = async (type: string, index: number) => {
      const body = JSON.stringify({ type, data: { index } })
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(`${url}/api/v1/events`, { method: 'POST', headers, body })
      expect(answer.status).toBe(201)
    }
    let [printed, told, isEnded] = ['', '', false]
    const seenOn = async (condition: () => boolean, work: () => Promise<void>) => {
      while (!condition() && !isEnded) {
        await work()
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    const following = commandLine
      .run(['events', '--follow', '--type', 'order_*', '--json'], {
        onOutput: (stdout, pid) => {
          printed = stdout
          if (stdout.includes('order_last')) process.kill(pid, 'SIGTERM')
        },
        onLog: (stderr) => {
          told = stderr
        },
      })
      .finally(() => {
        isEnded = true
      })
    await seenOn(
      () => printed.includes('order_paid'),
      () => send('order_paid', 0),
    )
    await down()
    url = await up()
    // Whether the follower has a connection or not, nothing of the log is lost.
    for (let index = 1; index <= 20; index++) await send('order_sent', index)
    await seenOn(
      () => told.includes('Connected again'),
      async () => undefined,
    )
    await send('order_last', 0)
    const { lines, stderr, exitCode } = await following
    expect(exitCode, stderr).toBe(0)
    const events = lines.map((line): { seq: number; type: string; data: { index: number } } => JSON.parse(line))
    const first = events[0]?.seq ?? 0
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => first + index))
    expect(events.filter(({ type }) => type === 'order_sent').map(({ data }) => data.index)).toHaveLength(20)
    expect(stderr).toMatch(/No connection: .*Next attempt in \d+ ms/)
  },
  3 * TIMEOUT_MS,
)
