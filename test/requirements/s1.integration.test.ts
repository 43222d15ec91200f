// The supervisor of agent services (REQUIREMENTS section S1): its configuration, service files, API and agent.
//
// S1-11: the configuration of the supervisor is read as it is written
// S1-12: the configuration of the supervisor is read as it is written
// S1-13: the configuration of the supervisor is read as it is written
// S1-14: the configuration of the supervisor is read as it is written
// S1-15: the configuration of the supervisor is read as it is written
// S1-16: the configuration of the supervisor is read as it is written
// S1-17: the configuration of the supervisor is read as it is written
// S1-18: the configuration of the supervisor is read as it is written
// S1-19: the configuration of the supervisor is read as it is written
// S1-20: the configuration of the supervisor is read as it is written
// S1-21: the configuration of the supervisor is read as it is written
// S1-22: the configuration of the supervisor is read as it is written
// S1-23: the configuration of the supervisor is read as it is written
// S1-24: the configuration of the supervisor is read as it is written
// S1-25: a key of the configuration protects every route, and without one only this machine gets in
// S1-26: the configuration of the supervisor is read as it is written
// S1-27: the configuration of the supervisor is read as it is written
// S1-28: a service file of the supervisor is read as it is written
// S1-29: a service file of the supervisor is read as it is written
// S1-30: a service file of the supervisor is read as it is written
// S1-31: a service file of the supervisor is read as it is written
// S1-32: a service file of the supervisor is read as it is written
// S1-33: a service file of the supervisor is read as it is written
// S1-34: a service file of the supervisor is read as it is written
// S1-35: a service file of the supervisor is read as it is written
// S1-36: a service file of the supervisor is read as it is written
// S1-37: a service file of the supervisor is read as it is written
// S1-38: a service file of the supervisor is read as it is written
// S1-39: a service file of the supervisor is read as it is written
// S1-40: a service file of the supervisor is read as it is written
// S1-49: a program registers itself under the names of service files
// S1-54: the health of the server is public
// S1-55: the WebSocket client of the supervisor receives updates of services
// S1-56: an agent answers for its health, and registers with its id and the address of the server alone
// S1-58: an agent answers for its health, and registers with its id and the address of the server alone

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket as NodeWebSocket } from 'ws'
import { describeSources, loadConfig } from '../../src/config/config.ts'
import { readServiceFiles } from '../../src/config/services/service-files.ts'
import { createHttpServer } from '../../src/server/server.ts'
import { ServiceAgent } from '../../src/service-agent/service-agent.ts'
import { runServer, send } from '../server/running-server.ts'
import { runProgram, runServiceServer } from '../server/services/service-server.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { SNAKE_CASE_SERVICE } from '../support/service-file.ts'

const CONFIGURATION = `
orchestrator:
  host: "0.0.0.0"
  port: 8000
  log_level: "INFO"
  data_dir: "./data"
  log_dir: "./logs"
  services_dir: "./services"

monitoring:
  interval: 30        # Health check interval (seconds)
  timeout: 10         # HTTP timeout for health checks
  enabled: true

recovery:
  enabled: true
  max_retries: 3
  backoff_seconds: 30

api:
  cors_origins:
    - "http://localhost:3000"
  api_key: null       # Optional API key protection
  rate_limit: 100

database:
  path: "./data/registry.db"
`

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'polyphony-s1-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text, { mode: 0o600 })
  }
  return folder
}
const load = (cwd: string) => loadConfig({}, { env: {}, cwd })

test('the configuration of the supervisor is read as it is written', async () => {
  const cwd = folderWith({ 'config/orchestrator.yaml': CONFIGURATION })
  const config = await load(cwd)
  expect(config).toMatchObject({
    logLevel: 'info',
    database: `pglite://${cwd}/data/registry`,
    server: { host: '0.0.0.0', port: 8000, corsOrigins: ['http://localhost:3000'], requestsPerMinute: 100 },
    services: {
      dir: `${cwd}/services`,
      dataDir: `${cwd}/data`,
      logDir: `${cwd}/logs`,
      health: { intervalMs: 30_000, timeoutMs: 10_000, enabled: true },
      restart: { when: 'failure', maxRetries: 3, delayMs: 30_000 },
    },
  })
  expect(config.server.apiKey).toBeUndefined()
  const sources = describeSources(config)
  expect(sources).toContainEqual({ key: 'server.port', value: '8000', source: 'config/orchestrator.yaml:4:3' })
  expect(sources).toContainEqual({ key: 'services.health.intervalMs', value: '30000', source: 'config/orchestrator.yaml:11:3' })
})

test('a key that the configuration of the supervisor does not have is refused with line and column', async () => {
  const cwd = folderWith({ 'config/orchestrator.yaml': `${CONFIGURATION}  pool: 3\n` })
  await expect(load(cwd)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `database.pool: expected a known key (config/orchestrator.yaml:${CONFIGURATION.split('\n').length}:3)`,
  })
  const wrong = folderWith({ 'config/orchestrator.yaml': 'orchestrator:\n  port: "8000"\n' })
  await expect(load(wrong)).rejects.toMatchObject({ message: expect.stringContaining('config/orchestrator.yaml:2:3') })
})

test('polyphony.yaml is stronger than the configuration of the supervisor, and recovery can be switched off', async () => {
  const cwd = folderWith({
    'config/orchestrator.yaml': `${CONFIGURATION.replace('recovery:\n  enabled: true', 'recovery:\n  enabled: false')}`,
    'polyphony.yaml': 'server: { port: 4711 }\n',
  })
  expect(await load(cwd)).toMatchObject({
    server: { port: 4711, requestsPerMinute: 100 },
    services: { restart: { when: 'never' } },
  })
})

test('a key of the configuration protects every route, and without one only this machine gets in', async () => {
  const cwd = folderWith({ 'config/orchestrator.yaml': 'api:\n  api_key: "a key of my own"\n' })
  await expect(load(cwd)).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.not.stringContaining('of my own') })
  const keyed = await load(folderWith({ 'config/orchestrator.yaml': 'api:\n  api_key: "s1-secret"\n' }))
  expect(describeSources(keyed)).toContainEqual(expect.objectContaining({ key: 'server.apiKey', value: 'set' }))

  const { send: ask } = await runServer({ server: { apiKey: 's1-secret' } })
  expect((await ask('GET', '/api/services')).status).toBe(401)
  expect((await ask('GET', '/api/services', { key: 's1-secreT' })).status).toBe(401)
  expect((await ask('GET', '/api/services', { key: 's1-secret' })).status).toBe(200)
  expect((await ask('GET', '/api/services', { headers: { 'x-api-key': 's1-secret' } })).status).toBe(200)
  expect((await ask('GET', '/api/v1/me', { key: 's1-secret' })).json).toMatchObject({ userId: 'local', via: 'key' })

  const polyphony = await openTestPolyphony({ server: { host: '0.0.0.0', port: 0 } })
  const open = await createHttpServer(polyphony)
  onTestFinished(() => open.close().then(() => polyphony.close()))
  await expect(open.listen()).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { key: 'server.host' } })
})

test('a service file of the supervisor is read as it is written', async () => {
  const cwd = folderWith({ 'services/my-service.yaml': SNAKE_CASE_SERVICE })
  const { services, problems } = await readServiceFiles(join(cwd, 'services'))
  expect(problems).toEqual([])
  expect(services[0]?.service).toMatchObject({
    id: 'my-service',
    name: 'My AI Service',
    type: 'agent',
    executable: ['python', '/path/to/my_service.py'],
    health: { url: 'http://localhost:8001/health' },
    endpoint: 'http://localhost:8001',
    start: 'auto',
    restart: { maxRetries: 3, delayMs: 30_000 },
    limits: { memory: 536_870_912, cpu: 25 },
    environment: { SERVICE_PORT: '8001', LOG_LEVEL: 'INFO' },
  })
})

test('a program registers itself under the names of service files', async () => {
  const { send: ask } = await runServiceServer()
  const program = await runProgram()
  const body = {
    id: 'my-service',
    name: 'My AI Service',
    type: 'ai-agent',
    health_endpoint: `${program.url}/health`,
    api_endpoint: program.url,
  }
  expect(await ask('POST', '/api/services', { body })).toMatchObject({
    status: 201,
    json: { id: 'my-service', type: 'ai-agent', status: 'running', health: 'healthy', api_endpoint: program.url },
  })
  const listed = JSON.parse((await ask('GET', '/api/services')).text)
  expect(listed.map(({ id }: { id: string }) => id)).toEqual(['local', 'my-service'])
  expect((await ask('GET', '/api/services/my-service')).json).toMatchObject({ name: 'My AI Service' })
})

test('the health of the server is public', async () => {
  const { send: ask } = await runServer()
  expect(await ask('GET', '/health')).toMatchObject({ status: 200, json: { status: 'healthy', database: 'up' } })
})

test('the WebSocket client of the supervisor receives updates of services', async () => {
  const { url, polyphony } = await runServiceServer()
  const WebSocket = class extends NodeWebSocket {
    constructor(address: string) {
      super(address.replace('ws://localhost:8000', url.replace('http', 'ws')))
      onTestFinished(() => this.terminate())
    }
  }
  const updates: { type: string; service: { id: string; state: string } }[] = []
  let onUpdate = () => {}

  const ws = new WebSocket('ws://localhost:8000/ws')
  ws.onmessage = (event) => {
    const update = JSON.parse(String(event.data))
    updates.push(update)
    onUpdate()
  }
  const until = (state: string) =>
    new Promise<void>((resolve) => {
      onUpdate = () => {
        if (updates.at(-1)?.service.state === state) resolve()
      }
    })
  await until('idle')
  const running = until('running')
  await polyphony.services.start('local')
  await running
  expect(updates.at(-1)).toMatchObject({ type: 'service', service: { id: 'local', health: 'unknown' } })
})

test('an agent answers for its health, and registers with its id and the address of the server alone', async () => {
  const { url, polyphony } = await runServiceServer()
  const agent = new ServiceAgent('my-service', url)
  onTestFinished(() => agent.close())
  expect(await agent.register()).toMatchObject({ id: 'my-service', driver: 'remote', state: 'running', health: 'healthy' })
  const healthUrl = await agent.serveHealth()
  expect(await (await fetch(healthUrl)).json()).toEqual({
    status: 'healthy',
    service: 'my-service',
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
  })
  expect(await agent.heartbeat()).toMatchObject({ state: 'running' })
  expect(polyphony.services.get('my-service').endpoint).toBe(new URL(healthUrl).origin)
  const nobody = new ServiceAgent('nobody', url)
  await expect(nobody.heartbeat()).rejects.toMatchObject({ code: 'SERVICE_NOT_FOUND', status: 404 })
})

test('an agent is refused with the code of the server', async () => {
  const { url, keyOf } = await runServiceServer()
  const token = await keyOf('ada')
  await expect(new ServiceAgent('x', url).heartbeat()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  await expect(new ServiceAgent('x', url, { token }).heartbeat()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  expect((await send(url, 'GET', '/api/services')).status).toBe(401)
})
