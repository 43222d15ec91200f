import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { type HealthListenerOptions, listenForHealth } from '../../src/server/health/health-listener.ts'
import { rejection } from '../support/caught.ts'
import { runServer } from './running-server.ts'

const engine = { engine: 'bullmq', ok: true, running: 1, queued: 2, active: 4, problem: 'the clock is wrong', unrunnable: [] }

async function listen(options: Partial<HealthListenerOptions> = {}) {
  const listener = await listenForHealth({
    host: '127.0.0.1',
    port: 0,
    version: '1.2.3',
    pingDatabase: async () => true,
    engineHealth: async () => engine,
    ...options,
  })
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= listener.close()
    return closed
  }
  onTestFinished(close)
  return { ...listener, close }
}

test('a probe gets the body and the status of the server', async () => {
  const server = await runServer()
  const ofServer = await server.send('GET', '/health')
  const { apiKeys, engineHealth } = server.polyphony
  const { url } = await listen({ pingDatabase: () => apiKeys.exist(), engineHealth, version: 'unknown' })
  const response = await fetch(url)
  const passing = { timestamp: expect.any(String), uptimeSeconds: expect.any(Number) }
  expect(response.status).toBe(ofServer.status)
  expect(await response.json()).toEqual({ ...ofServer.json, ...passing })
})

test('a probe tells the problem of the engine', async () => {
  const { url } = await listen()
  const response = await fetch(url)
  expect(response.status).toBe(200)
  expect(await response.json()).toMatchObject({
    status: 'healthy',
    active_workflows: 4,
    database: 'up',
    version: '1.2.3',
    engine,
  })
})

test('a probe fails while the database does not answer, and without the engine', async () => {
  const { url } = await listen({ pingDatabase: () => Promise.reject(new Error('away')) })
  const response = await fetch(url)
  expect(response.status).toBe(503)
  const body = await response.json()
  expect(body).toMatchObject({ status: 'unavailable', database: 'down' })
  expect(body).not.toHaveProperty('engine')
})

test.each([
  ['POST', '/health'],
  ['GET', '/'],
  ['GET', '//'],
])('%s %s is not found', async (method, path) => {
  const { url } = await listen()
  expect((await fetch(`${new URL(url).origin}${path}`, { method })).status).toBe(404)
})

test('closing ends connections that ask for nothing, and listens no more', async () => {
  const { url, close } = await listen()
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const ended = new Promise((resolve) => socket.once('close', resolve))
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.once('connect', resolve))
  await fetch(url)
  await close()
  await ended
  await expect(fetch(url)).rejects.toThrow()
})

test('a port in use is reported with the setting', async () => {
  const { url } = await listen()
  const port = Number(new URL(url).port)
  const error = await rejection(listen({ port }))
  expect(error).toMatchObject({
    code: 'CONFIG_INVALID',
    message: `worker.healthPort: expected a free port, found ${port} (EADDRINUSE)`,
  })
})
