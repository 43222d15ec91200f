import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createHttpServer } from '../../src/server/server.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const TIMES = 25

/** What this process holds open. */
function readHeld() {
  const resources = new Map<string, number>()
  for (const name of process.getActiveResourcesInfo()) resources.set(name, (resources.get(name) ?? 0) + 1)
  const listeners = Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)]))
  const files = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
  return { timers: resources.get('Timeout') ?? 0, servers: resources.get('TCPServerWrap') ?? 0, listeners, files }
}

/** An instance with everything that has a life of its own, used and closed. */
async function openAndClose(root: string): Promise<void> {
  const services = { dir: join(root, 'services'), dataDir: join(root, 'data'), health: { startIntervalMs: 5 } }
  const polyphony = await openTestPolyphony({ simulator: true, services, server: { port: 0 } })
  const server = await createHttpServer(polyphony)
  await server.listen()
  const heard = new Promise<void>((resolve) => {
    polyphony.events.on({ type: 'service_state' }, () => resolve())
  })
  polyphony.events.aggregate({}, { windowMs: 60_000, maxSize: 1_000 }, () => undefined)
  await polyphony.services.register({ id: 'own', type: 'agent', handlers: { start: () => 'ready', health: () => true } })
  await polyphony.services.register({ id: 'remote', type: 'agent', endpoint: 'http://127.0.0.1:9', leaseMs: 60_000 })
  await polyphony.services.startAll()
  await heard
  expect(polyphony.services.list().map(({ state }) => state)).toEqual(['running', 'running', 'running'])
  await server.close()
  await polyphony.close()
}

test(`an instance with a program, services and events is opened and closed ${TIMES} times, and nothing stays`, {
  timeout: 600_000,
}, async () => {
  const root = mkdtempSync(join(tmpdir(), 'polyphony-again-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  mkdirSync(join(root, 'services'), { mode: 0o700 })
  const program = { id: 'program', type: 'agent', executable: ['/bin/sleep', '600'], minUptimeMs: 0 }
  writeFileSync(join(root, 'services', 'program.json'), JSON.stringify(program), { mode: 0o600 })
  const warnings: string[] = []
  const warn = ({ name, message }: Error) => void warnings.push(`${name}: ${message}`)
  process.on('warning', warn)
  onTestFinished(() => void process.off('warning', warn))
  // The first ones load modules, which keep what they need for all.
  for (let time = 0; time < 3; time++) await openAndClose(root)
  const before = readHeld()
  for (let time = 0; time < TIMES; time++) await openAndClose(root)
  await expect.poll(() => readHeld().timers).toBeLessThanOrEqual(before.timers + 2)
  const after = readHeld()
  expect(after.listeners).toEqual(before.listeners)
  expect(after.servers).toBe(before.servers)
  expect(after.files).toBeLessThanOrEqual(before.files + 5)
  expect(warnings).toEqual([])
  expect(readdirSync(join(root, 'data', 'run'))).toEqual([])
})
