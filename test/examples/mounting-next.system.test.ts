import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe } from 'vitest'
import { type MountedApp, SETTINGS, testMountedApp } from '../server/mount/mounted-app.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { ROOT } from '../support/run-block.ts'

/** A folder in which Next, React, TypeScript and the packed package are installed; .ci/run makes it. */
const folder = process.env.POLYPHONY_NEXT ?? ''
const isInstalled = folder !== '' && existsSync(join(folder, 'node_modules/next'))
if (!isInstalled)
  console.warn('skipped: the app of Next, whose 340 MB no test needs otherwise; POLYPHONY_NEXT names a folder with it (.ci/run)')

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

describe.skipIf(!isInstalled)('Next, built to run by itself', { timeout: 300_000 }, () => {
  let child: ChildProcess
  let app: MountedApp
  beforeAll(async () => {
    const standalone = join(folder, '.next/standalone')
    const data = join(folder, 'data')
    for (const path of [join(folder, '.next'), data]) rmSync(path, { recursive: true, force: true })
    cpSync(join(ROOT, 'examples/mounting/next'), folder, { recursive: true })
    const env = { PATH: process.env.PATH, HOME: folder, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' as const }
    const built = spawnSync(join(folder, 'node_modules/.bin/next'), ['build'], { cwd: folder, env, encoding: 'utf8' })
    if (built.status !== 0) throw new Error(`next build failed: ${built.stdout}\n${built.stderr}`)

    mkdirSync(data)
    const database = `pglite://${data}/db`
    const polyphony = await openTestPolyphony({ database })
    const { token: key } = await polyphony.apiKeys.create('ada')
    await polyphony.close()
    writeFileSync(join(standalone, 'polyphony.yaml'), JSON.stringify({ ...SETTINGS, database }))
    const [port, socketPort] = [await freePort(), await freePort()]
    child = spawn(process.execPath, ['server.js'], {
      cwd: standalone,
      env: { ...env, PORT: String(port), SOCKET_PORT: String(socketPort), HOSTNAME: '127.0.0.1' },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const url = `http://127.0.0.1:${port}/polyphony`
    app = { url, socketUrl: `http://127.0.0.1:${socketPort}/polyphony`, key }
    const isUp = () =>
      fetch(`${url}/livez`).then(
        ({ ok }) => ok,
        () => false,
      )
    const isLate = AbortSignal.timeout(120_000)
    while (!(await isUp())) {
      if (isLate.aborted || child.exitCode !== null) throw new Error('the server of Next did not start')
      await delay(50)
    }
  }, 600_000)
  afterAll(() => child?.kill('SIGKILL'))

  testMountedApp('the app of Next', async () => app)
})
