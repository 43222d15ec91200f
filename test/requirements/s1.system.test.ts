// The supervisor of agent services (REQUIREMENTS section S1): its processes and its command line.
//
// S1-01: the server starts in the background with its services, its files and its log
// S1-03: stopping ends the server and every service cleanly
// S1-04: the status shows the server, services, process ids and the last lines of the logs
// S1-05: the server starts in the background with its services, its files and its log
// S1-06: the server starts in the background with its services, its files and its log
// S1-08: the server starts in the background with its services, its files and its log
// S1-10: stopping ends the server and every service cleanly
// S1-41: the status shows the server, services, process ids and the last lines of the logs
// S1-42: services are listed, shown, stopped, started and restarted at the command line
// S1-43: services are listed, shown, stopped, started and restarted at the command line
// S1-44: services are listed, shown, stopped, started and restarted at the command line
// S1-45: services are listed, shown, stopped, started and restarted at the command line
// S1-46: services are listed, shown, stopped, started and restarted at the command line
// S1-47: services are listed, read, started, stopped, restarted and their logs read over HTTP
// S1-48: services are listed, read, started, stopped, restarted and their logs read over HTTP
// S1-50: services are listed, read, started, stopped, restarted and their logs read over HTTP
// S1-51: services are listed, read, started, stopped, restarted and their logs read over HTTP
// S1-52: services are listed, read, started, stopped, restarted and their logs read over HTTP
// S1-53: services are listed, read, started, stopped, restarted and their logs read over HTTP
// S1-57: a program in Python is supervised: it registers with the token of its run, and ends when it is asked to
// S1-60: a service that fails is started again with retries and backoff, then given up

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findProcessFacts } from '../../src/system/processes.ts'
import { createCommandLine } from '../cli/command-line.ts'
import { send } from '../server/running-server.ts'
import { endLeftProcesses } from '../support/left-processes.ts'

const TIMEOUT = 120_000
const hasPython = spawnSync('python3', ['--version']).status === 0
const commandLine = createCommandLine()
const { directory } = commandLine
const at = (...path: string[]) => join(directory, ...path)

const TICKER = `
console.log('the ticker runs as ' + process.env.SERVICE_NAME)
setInterval(() => console.log('tick'), 100)
process.on('SIGTERM', () => { console.log('the ticker ends'); process.exit(0) })
`

interface Up {
  readonly url: string
  readonly pid: number
  readonly services: readonly { readonly id: string; readonly state: string; readonly process?: { readonly pid: number } }[]
}
let up: Up

const run = (...words: string[]) => commandLine.run(words)
const processOf = async (id: string): Promise<number> => JSON.parse((await run('show', id, '--json')).stdout).process.pid
/** A process without a parent that collects its status has ended nevertheless. */
const isRunning = (pid: number): boolean => {
  const facts = findProcessFacts(pid)
  return facts !== undefined && !facts.ended
}
const key = () => JSON.parse(readFileSync(at('data/server.json'), 'utf8')).token

beforeAll(async () => {
  for (const folder of ['config', 'services']) mkdirSync(at(folder))
  writeFileSync(
    at('config/orchestrator.yaml'),
    [
      'orchestrator: { host: "127.0.0.1", port: 0, log_level: "INFO", data_dir: "./data", log_dir: "./logs", services_dir: "./services" }',
      'monitoring: { interval: 30, timeout: 10, enabled: true }',
      'recovery: { enabled: true, max_retries: 3, backoff_seconds: 30 }',
      'database: { path: "./data/registry.db" }',
    ].join('\n'),
  )
  writeFileSync(at('services/ticker.mjs'), TICKER)
  const ticker = [
    'id: ticker',
    'name: Ticker',
    'type: ai-agent',
    `executable: ${process.execPath} ticker.mjs`,
    'auto_start: true',
    'environment: { SERVICE_NAME: "{{id}}" }',
  ]
  writeFileSync(at('services/ticker.yaml'), ticker.join('\n'), { mode: 0o600 })
  const crashing = [
    'id: crashing',
    'type: agent',
    `executable: [${process.execPath}, -e, "console.log('it fails'); process.exit(3)"]`,
    'auto_start: false',
    'restart_policy: { max_retries: 2, backoff_seconds: 0.05 }',
  ]
  writeFileSync(at('services/crashing.yaml'), crashing.join('\n'), { mode: 0o600 })
  if (hasPython) {
    const examples = new URL('../../examples/services/', import.meta.url).pathname
    copyFileSync(join(examples, 'my_service.py'), at('services/my_service.py'))
    writeFileSync(at('services/my-service.yaml'), readFileSync(join(examples, 'my-service.yaml')), { mode: 0o600 })
  }
  const started = await run('up', '--simulate', '--json')
  expect(started.exitCode, started.stderr).toBe(0)
  up = JSON.parse(started.stdout)
}, TIMEOUT)

afterAll(async () => {
  await run('down', '--orphans')
  commandLine.remove()
  expect(await endLeftProcesses('HOME', directory), 'processes left behind').toEqual([])
}, TIMEOUT)

test(
  'the server starts in the background with its services, its files and its log',
  async () => {
    expect(up.services).toContainEqual(expect.objectContaining({ id: 'ticker', state: 'running' }))
    expect(readFileSync(at('data/orchestrator.pid'), 'utf8').trim()).toBe(String(up.pid))
    expect(isRunning(up.pid)).toBe(true)
    expect(readFileSync(at('logs/orchestrator.log'), 'utf8')).toContain('the server is listening')
    expect((await send(up.url, 'GET', '/health')).status).toBe(200)
    const again = await run('up', '--json')
    expect(JSON.parse(again.stdout)).toMatchObject({ pid: up.pid })
  },
  TIMEOUT,
)

test(
  'the status shows the server, services, process ids and the last lines of the logs',
  async () => {
    const { stdout, exitCode } = await run('status')
    expect(exitCode).toBe(0)
    expect(stdout).toContain(`The server runs at ${up.url}, pid ${up.pid}.`)
    expect(stdout).toMatch(/^ticker +agent +running +unknown +\d+/m)
    expect(stdout).toContain('orchestrator.log')
    expect(stdout).toContain('tick')
  },
  TIMEOUT,
)

test(
  'services are listed, shown, stopped, started and restarted at the command line',
  async () => {
    expect((await run('list')).stdout).toMatch(/^ticker /m)
    expect((await run('services', 'show', 'ticker')).stdout).toMatch(/^state +running/m)
    const first = await processOf('ticker')
    expect((await run('restart', 'ticker')).exitCode).toBe(0)
    const second = await processOf('ticker')
    expect([second === first, isRunning(first)]).toEqual([false, false])
    expect((await run('stop', 'ticker')).stdout).toMatch(/^state +idle/m)
    expect(isRunning(second)).toBe(false)
    expect((await run('start', 'ticker')).stdout).toMatch(/^state +running/m)
    expect((await run('services', 'logs', 'ticker', '-n', '1000')).stdout).toContain('the ticker runs as ticker')
    expect(await run('show', 'tickr')).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('ticker') })
  },
  TIMEOUT,
)

test(
  'services are listed, read, started, stopped, restarted and their logs read over HTTP',
  async () => {
    const ask = (method: string, path: string) => send(up.url, method, path)
    const listed = JSON.parse((await ask('GET', '/api/services')).text)
    expect(listed).toContainEqual(expect.objectContaining({ id: 'ticker', status: 'running', type: 'ai-agent' }))
    expect(await ask('PUT', '/api/services/ticker/stop')).toMatchObject({ status: 200, json: { status: 'idle' } })
    expect(await ask('PUT', '/api/services/ticker/start')).toMatchObject({ status: 200, json: { status: 'running' } })
    expect(await ask('PUT', '/api/services/ticker/restart')).toMatchObject({ status: 200, json: { status: 'running' } })
    expect((await ask('GET', '/api/services/ticker')).json).toMatchObject({ process: { pid: expect.any(Number) } })
    const log = await ask('GET', '/api/services/ticker/logs?lines=1000')
    expect(log.headers.get('content-type')).toContain('text/plain')
    expect(log.text).toContain('the ticker runs as ticker')
    const stream = await fetch(`${up.url}/api/v1/services/ticker/logs?follow=true&lines=1`, {
      headers: { accept: 'text/event-stream' },
    })
    let events = ''
    for await (const text of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      events += text
      if (events.split('event: line').length > 4) break
    }
    expect(events).toMatch(/data: \{.*"text":"tick"/)
  },
  TIMEOUT,
)

test(
  'a service that fails is started again with retries and backoff, then given up',
  async () => {
    const started = await run('start', 'crashing')
    expect(started.exitCode).toBe(27)
    expect(started.stderr).toMatch(/SERVICE_GAVE_UP/)
    const report = JSON.parse((await run('show', 'crashing', '--json')).stdout)
    expect(report).toMatchObject({ state: 'failed', restarts: 2, lastExit: { code: 3, reason: 'crashed' } })
    const { stdout } = await run('services', 'logs', 'crashing')
    expect(stdout.match(/it fails/g)).toHaveLength(3)
  },
  TIMEOUT,
)

test.skipIf(!hasPython)(
  'a program in Python is supervised: it registers with the token of its run, and ends when it is asked to',
  async () => {
    const report = JSON.parse((await run('show', 'my-service', '--json')).stdout)
    expect(report).toMatchObject({ state: 'running', driver: 'process' })
    expect(report.health).not.toBe('unhealthy')
    const health = await (await fetch(`${report.endpoint}/health`)).json()
    expect(health).toMatchObject({ status: 'healthy', service: 'my-service', timestamp: expect.any(String) })
    expect((await run('services', 'logs', 'my-service')).stdout).toContain('registered 200')
    const environment = readFileSync(`/proc/${report.process.pid}/environ`, 'utf8').split('\0')
    const token = environment.find((entry) => entry.startsWith('POLYPHONY_SERVICE_RUN='))?.split('=')[1] ?? ''
    const ask = (method: string, path: string, body?: unknown) => send(up.url, method, path, { key: token, body })
    expect((await ask('POST', '/api/v1/services/my-service/heartbeat')).status).toBe(200)
    expect((await ask('POST', '/api/v1/services/ticker/heartbeat')).status, 'another service').toBe(403)
    expect((await ask('POST', '/api/v1/services', { id: 'ticker' })).status, 'another service').toBe(403)
    expect((await ask('GET', '/api/v1/services')).status, 'anything else').toBe(403)
    expect((await ask('GET', '/api/v1/flows')).status, 'anything else').toBe(403)
    await run('stop', 'my-service')
    expect((await run('services', 'logs', 'my-service')).stdout).toContain('Shutting down gracefully...')
    expect((await ask('GET', '/api/v1/flows')).status, 'after the run').toBe(401)
  },
  TIMEOUT,
)

test(
  'the control token is the operator and no user, and its file is private',
  async () => {
    const me = await send(up.url, 'GET', '/api/v1/me', { key: key() })
    expect(me.json).toMatchObject({ userId: 'local', via: 'control', scopes: ['read', 'operate'] })
    expect((await send(up.url, 'POST', '/api/v1/threads', { key: key() })).status).toBe(403)
    const listing = spawnSync('stat', ['-c', '%a', at('data/server.json')]).stdout.toString()
    if (process.platform === 'linux') expect(listing.trim()).toBe('600')
  },
  TIMEOUT,
)

test(
  'a changed service file restarts what runs, on reload and on SIGHUP',
  async () => {
    const before = await processOf('ticker')
    const file = at('services/ticker.yaml')
    writeFileSync(file, readFileSync(file, 'utf8').replace('{{id}}', 'changed'), { mode: 0o600 })
    expect(JSON.parse((await run('services', 'reload', '--json')).stdout)).toMatchObject({ changed: ['ticker'], removed: [] })
    const log = async () => (await send(up.url, 'GET', '/api/services/ticker/logs?lines=10000')).text
    await expect.poll(log, { timeout: 30_000 }).toContain('the ticker runs as changed')
    expect(isRunning(before)).toBe(false)
    writeFileSync(file, readFileSync(file, 'utf8').replace('changed', 'hung-up'), { mode: 0o600 })
    process.kill(up.pid, 'SIGHUP')
    await expect.poll(log, { timeout: 30_000 }).toContain('the ticker runs as hung-up')
  },
  TIMEOUT,
)

test(
  'stopping ends the server and every service cleanly',
  async () => {
    await expect.poll(async () => (await run('list')).stdout, { timeout: 60_000 }).toMatch(/^ticker +agent +running/m)
    const ticker = await processOf('ticker')
    expect(await run('down')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`The server ${up.pid} has ended.`) })
    expect([isRunning(up.pid), isRunning(ticker)]).toEqual([false, false])
    expect(readFileSync(at('logs/ticker.log'), 'utf8').trimEnd().endsWith('the ticker ends')).toBe(true)
    expect([existsSync(at('data/server.json')), existsSync(at('data/orchestrator.pid'))]).toEqual([false, false])
    const { exitCode, stdout } = await run('status')
    expect(exitCode).toBe(13)
    expect(stdout).toContain('No server runs.')
    expect((await run('list')).exitCode).toBe(13)
    expect((await run('down')).exitCode).toBe(0)
  },
  TIMEOUT,
)
