import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type * as Polyphony from '../../src/index.ts'

const BUILT = new URL('../../dist/src/index.js', import.meta.url)
const built = existsSync(BUILT)
if (!built) console.warn('skipped: dist/ is not built; npm ci or npm run build makes it')

test.skipIf(!built)('the built package takes schemas of the installed zod, though it carries its own', async () => {
  const { createPolyphony, createScriptedProvider }: typeof Polyphony = await import(BUILT.href)
  const scripted = createScriptedProvider({ id: 'scripted', replies: ['{"mood":"glad"}'] })
  const polyphony = await createPolyphony({ database: 'memory://', providers: { scripted } }, { env: {}, cwd: '/nonexistent' })
  const thread = await polyphony.conversations.createThread('user', {})
  const flow = await polyphony.orchestrator.createFlow(thread.id, 'user', {
    name: 'built',
    type: 'sequential',
    steps: [
      {
        id: 'a',
        model: 'scripted/m',
        action: 'extract',
        prompt: 'original',
        outputSchema: z.object({ mood: z.enum(['glad', 'sad']) }),
      },
    ],
  })
  const result = await polyphony.orchestrator.executeFlow(flow.id, 'user', { input: 'How are you?' })
  await polyphony.close()
  expect(result.steps[0]?.parsed).toEqual({ mood: 'glad' })
  expect(scripted.requests[0]?.outputSchema).toMatchObject({ type: 'object', required: ['mood'] })
})
