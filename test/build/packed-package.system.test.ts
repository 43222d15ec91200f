import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Installed, installPacked, isBuilt, ROOT } from './packed.ts'

const SIMULATED = { DATABASE_URL: 'memory://', POLYPHONY_SIMULATOR: 'true', LOG_LEVEL: 'silent' }

describe.skipIf(!isBuilt)('the packed package', { timeout: 300_000 }, () => {
  let installed: Installed
  beforeAll(async () => {
    installed = await installPacked()
    installed.write('program.ts', readFileSync(join(ROOT, 'test/build/consumer.ts'), 'utf8'))
  }, 240_000)
  afterAll(() => rmSync(installed.folder, { recursive: true, force: true }))

  test('a program of a user compiles strictly with the library of ES2023 and runs on the simulator', async () => {
    expect(await installed.typeErrors(['es2023'], ['node'])).toBe('')
    const output = await installed.node(['out/program.js'], SIMULATED)
    expect(JSON.parse(/^REPORT (.*)$/m.exec(output)?.[1] ?? output)).toEqual({
      status: 'COMPLETED',
      progress: '100.0',
      started: true,
      failed: [],
      statuses: {
        score: 'SUCCESS',
        counted: 'SUCCESS',
        matched: 'SUCCESS',
        undefined: 'SKIPPED',
        late: 'SKIPPED',
        last: 'SUCCESS',
      },
      stored: 4,
      tokens: true,
      messages: 4,
      listed: 1,
      single: 'SUCCESS',
      spent: true,
      templates: 10,
      unknown: 'FLOW_NOT_FOUND',
      updates: true,
      services: 4,
    })
  })

  test('a program of a user compiles strictly beside the types of browsers', async () => {
    expect(await installed.typeErrors(['es2023', 'dom'], ['node'])).toBe('')
  })

  test('a program bundled by a user runs where no package is installed', async () => {
    installed.write('bundled.mjs', BUNDLED)
    const bundle = join(installed.folder, 'bundle/program.mjs')
    const { warnings } = await build({
      entryPoints: [join(installed.folder, 'bundled.mjs')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'silent',
    })
    // Of this package; TypeORM looks for drivers that nobody has to have.
    expect(warnings.filter(({ location }) => location?.file.includes('polyphony/'))).toEqual([])
    rmSync(join(installed.folder, 'node_modules'), { recursive: true })
    expect(await installed.node(['bundle/program.mjs'])).toContain('["COMPLETED","SUCCESS","SUCCESS","SUCCESS"]')
  })
})

/** A template, a condition, an answer that needs a repair and counted tokens: each comes with a package that is loaded at first use. */
const BUNDLED = `
import { createPolyphony, createScriptedProvider } from 'polyphony'
import * as z from 'zod'
const scripted = createScriptedProvider({ id: 'scripted', replies: ["{'mood': 'glad',}", 'one', 'two'] })
const polyphony = await createPolyphony({ database: 'memory://', providers: { scripted } }, { env: {}, cwd: '/nonexistent' })
const thread = await polyphony.conversations.createThread('user', {})
const step = (id, more) => ({ id, model: 'scripted/m', action: 'generate', prompt: '{{ input | upcase }} {{ previous }}', ...more })
const flow = await polyphony.orchestrator.createFlow(thread.id, 'user', {
  name: 'bundled', type: 'conditional',
  steps: [
    { ...step('a', { outputSchema: z.object({ mood: z.string() }) }), prompt: '{{ input | upcase }}' },
    step('b', { condition: 'previous.contains("glad")' }),
    step('c'),
  ],
})
const result = await polyphony.orchestrator.executeFlow(flow.id, 'user', { input: 'hello' })
await polyphony.close()
console.log(JSON.stringify([result.status, ...result.steps.map(({ status }) => status)]))
`
