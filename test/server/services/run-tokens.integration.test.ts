import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findStart } from '../../../src/system/process-table.ts'
import { upgradeStatus } from '../socket-client.ts'
import { routesOf } from '../tenancy/route-list.ts'
import { ROWS } from '../tenancy/rows.ts'
import { runServiceServer } from './service-server.ts'

/** Variables of this process that hold keys; none of them may reach a program. */
const KEYS = [
  ...['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GEMINI_API_KEY', 'POLYPHONY_API_KEY', 'API_KEY', 'DATABASE_URL', 'REDIS_URL'],
  ...['AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN', 'LD_PRELOAD_CANARY', 'NODE_OPTIONS_CANARY', 'POLYPHONY_CANARY'],
]

const API = '/api/v1/services'

/** A server with a program that runs, and the variables that the program was given. */
async function runWithProgram() {
  const folder = mkdtempSync(join(tmpdir(), 'polyphony-tokens-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of KEYS) {
    const before = process.env[name]
    process.env[name] = `canary-${name}`
    onTestFinished(() => {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    })
  }
  const running = await runServiceServer({
    services: { dir: join(folder, 'services'), dataDir: join(folder, 'data') },
    server: { apiKey: 'canary-key-of-the-operator' },
  })
  const written = join(folder, 'environment')
  const program = `require('fs').writeFileSync(${JSON.stringify(written)}, JSON.stringify(process.env))
    console.log('up')
    setInterval(() => {}, 1000)`
  const service = { type: 'agent' as const, ready: { logLine: 'up' }, passEnvironment: ['GITHUB_TOKEN'] }
  await running.polyphony.services.register({ ...service, id: 'program', executable: [process.execPath, '-e', program] })
  await running.polyphony.services.start('program')
  const environment: Readonly<Record<string, string>> = JSON.parse(readFileSync(written, 'utf8'))
  return { ...running, environment, token: String(environment.POLYPHONY_SERVICE_RUN) }
}

test('a program gets the listed variables, its own and those that its file names, and no key besides', async () => {
  const { environment } = await runWithProgram()
  expect(environment.GITHUB_TOKEN).toBe('canary-GITHUB_TOKEN')
  expect(JSON.stringify({ ...environment, GITHUB_TOKEN: '' })).not.toContain('canary')
  const usual =
    /^(PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS|NO_PROXY|no_proxy|HTTPS?_PROXY|https?_proxy)$/
  const own = ['GITHUB_TOKEN', 'POLYPHONY_SERVICE_RUN', 'PYTHONUNBUFFERED']
  expect(Object.keys(environment).filter((name) => !usual.test(name) && !own.includes(name))).toEqual([])
})

test('the token of a run announces its own service and opens nothing else, and dies with the run', async () => {
  const { server, send, url, token, polyphony } = await runWithProgram()
  expect(findStart(polyphony.services.get('program').process?.pid ?? 0)).toBeDefined()
  const own = [
    ['POST', API, { id: 'program' }],
    ['POST', '/api/services', { id: 'program' }],
    ['POST', `${API}/program/heartbeat`, undefined],
  ] as const
  for (const [method, path, body] of own) {
    expect((await send(method, path, { key: token, body })).status, `${method} ${path}`).toBe(200)
  }
  const others = [
    ['POST', API, { id: 'local' }],
    ['POST', API, { id: 'new', endpoint: 'http://127.0.0.1:9' }],
    ['POST', '/api/services', { id: 'local', api_endpoint: 'http://127.0.0.1:9' }],
    ['POST', `${API}/local/heartbeat`, undefined],
  ] as const
  for (const [method, path, body] of others) {
    const answer = await send(method, path, { key: token, body })
    expect(answer, `${method} ${path}`).toMatchObject({ status: 403, json: { code: 'PERMISSION_DENIED' } })
  }
  let asked = 0
  for (const { method, path, name } of routesOf(server.app)) {
    const [row] = ROWS[name] ?? []
    if (row?.scope === 'public' || method === 'OPTIONS') continue
    if (name.endsWith('/services') && method === 'POST') continue
    if (name.endsWith('/heartbeat')) continue
    const target = path.replaceAll(/:\w+/g, 'program').replace('*', 'x')
    const answer = await send(method, target, { key: token, ...(method === 'POST' || method === 'PUT' ? { body: {} } : {}) })
    expect(answer.status, name).toBe(403)
    asked++
  }
  expect(asked).toBeGreaterThan(80)
  expect(await upgradeStatus(url, { key: token })).toBe(403)

  await polyphony.services.stop('program')
  for (const [method, path, body] of own) {
    expect((await send(method, path, { key: token, body })).status, `${method} ${path} after the run`).toBe(401)
  }
  expect(polyphony.services.list().map(({ id }) => id)).toEqual(['local', 'program'])
})

test('no answer, event or log line holds the token of a run or the key of the operator', async () => {
  const { server, send, token } = await runWithProgram()
  const key = 'canary-key-of-the-operator'
  const told: string[] = []
  for (const { method, path } of routesOf(server.app)) {
    if (method !== 'GET') continue
    const answer = await send(method, path.replaceAll(/:\w+/g, 'program').replace('*', 'x'), { key })
    told.push(`${answer.text} ${JSON.stringify([...answer.headers])}`)
  }
  for (const name of ['stop', 'start', 'restart']) {
    told.push((await send('PUT', `${API}/program/${name}?wait=10000`, { key })).text)
  }
  told.push((await send('GET', `${API}/program/events`, { key })).text)
  expect(told.join('')).toContain('service_state')
  for (const secret of [token, key]) expect(told.filter((text) => text.includes(secret))).toEqual([])
})
