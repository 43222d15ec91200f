import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { openTestPostgres } from '../support/postgres.ts'

const PROGRAM = `
import { createPolyphony } from ${JSON.stringify(new URL('../../src/polyphony.ts', import.meta.url).href)}
const { conversations } = await createPolyphony({ database: process.argv[1], simulator: true, logLevel: 'silent' })
await conversations.createThread('ada')
console.log('done')
`

async function run(database: string, cwd: string): Promise<{ code: unknown; out: string }> {
  const tsx = import.meta.resolve('tsx')
  const child = spawn(process.execPath, ['--import', tsx, '--input-type=module', '-e', PROGRAM, database], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (text) => {
    out += text
  })
  const [code] = await once(child, 'close')
  return { code, out }
}

test('a program that forgets to close its database ends, on Postgres', async () => {
  const { url, drop } = await openTestPostgres()
  expect(await run(url, process.cwd())).toEqual({ code: 0, out: 'done\n' })
  await drop()
}, 60_000)
