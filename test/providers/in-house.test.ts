import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

test('a provider of code that is in house is listed as such, sees every text, and is no excuse for another one', async () => {
  const own = { ...createScriptedProvider({ id: 'another', replies: () => 'mine' }), inHouse: true }
  const providers = {
    alpha: createScriptedProvider({ id: 'alpha', replies: () => 'draft' }),
    // Under another id than its own.
    shelf: own,
  }
  const polyphony = await openTestPolyphony({ providers })
  try {
    expect(polyphony.providers.list().find(({ id }) => id === 'shelf')).toMatchObject({ inHouse: true })
    const { conversations, orchestrator } = polyphony
    const thread = await conversations.createThread('ada')
    const run = async (...models: readonly string[]) => {
      const steps = models.map((model, index) => ({
        id: `s${index}`,
        model,
        action: 'generate' as const,
        ...(index > 0 && { prompt: `{{ steps.s${index - 1}.output }}` }),
      }))
      const flow = await orchestrator.createFlow(thread.id, 'ada', { name: 'one', type: 'sequential', steps })
      return orchestrator.executeFlow(flow.id, 'ada', { input: 'Say something.' })
    }
    const { steps } = await run('alpha/m', 'shelf/m')
    expect(steps[1]?.sharing).toContainEqual(
      expect.objectContaining({ piece: 's0', to: 'shelf', rule: 'in_house', allowed: true }),
    )
    expect(await rejection(run('alpha/m', 'shelf/m', 'alpha/m'))).toMatchObject({ code: 'DATA_SHARING_DENIED' })
  } finally {
    await polyphony.close()
  }
})
