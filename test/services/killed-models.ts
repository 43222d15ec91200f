import { expect } from 'vitest'
import type { PoolStrategy } from '../../src/config/pools/pool-settings.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import type { createModelServers } from './model-servers.ts'
import { until } from './process-world.ts'
import { createGate } from './service-world.ts'

type ModelServers = ReturnType<typeof createModelServers>

/** What became of many streamed flows over a pool of two, one of whose servers was killed again and again. */
export interface KilledModels {
  readonly completed: number
  readonly attempts: readonly Attempt[]
  /** Attempts that began after a success of the same step. */
  readonly repeated: number
  readonly restarts: number
  /** Milliseconds from the return of the killed server until it has 40 to 60 % of the calls again. */
  readonly shareBackMs: number
}

const VICTIM = 'writer-1'
const PAUSE = 'until-it-returned'

/** Kills one of two model servers twice in the middle of streamed flows over their pool. */
export async function killModels(world: ModelServers, flows: number, strategy: PoolStrategy): Promise<KilledModels> {
  for (const id of [VICTIM, 'writer-2']) {
    world.writeFile(world.serverOf(id, { restart: { delayMs: 300, maxRetries: 10 } }, { chunkMs: 50, words: 30 }))
  }
  const members = [{ model: `${VICTIM}/small` }, { model: 'writer-2/small' }]
  const polyphony = await world.open({ pools: { writers: { members, strategy } } })
  const returned = createGate()
  polyphony.functions.register(PAUSE, async () => {
    await returned.opened
    return 'done'
  })
  await polyphony.services.startAll()

  const step = { model: 'pool/writers', action: 'generate' as const, maxRetries: 8, fallbackAfterFirstToken: true }
  const definition = {
    name: 'two drafts',
    type: 'sequential' as const,
    contextPolicy: { shareStepOutputs: false },
    steps: [
      { id: 'first', ...step },
      { id: 'pause', model: `function/${PAUSE}`, action: 'run' as const },
      { id: 'second', ...step },
    ],
  }
  const running = Array.from({ length: flows }, () => world.run(polyphony, definition, { streaming: true }))
  const settled = Promise.allSettled(running)
  for (let kill = 1; kill <= 2; kill++) {
    await until('the server answers many calls', () => polyphony.services.get(VICTIM).inFlight >= flows / 10)
    process.kill(pidOf(polyphony), 'SIGKILL')
    await until('the server runs again', () => {
      const { restarts, state } = polyphony.services.get(VICTIM)
      return restarts === kill && state === 'running'
    })
    // However long the first restart took, all flows still have a call before them.
    returned.open()
  }
  const shareBackMs = await measureShare(world, polyphony)
  const results = (await settled).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const steps = results.flatMap((result) => result.steps).filter(({ stepId }) => stepId !== 'pause')
  const repeated = steps.filter(({ attempts }) => attempts.slice(0, -1).some(({ error }) => error === undefined)).length
  // The ledger has every attempt of the results.
  for (const { steps: ofFlow } of results) for (const { attempts } of ofFlow) expect(attempts.at(-1)?.error).toBeUndefined()
  return {
    completed: results.filter(({ status }) => status === 'COMPLETED').length,
    attempts: steps.flatMap(({ attempts }) => attempts),
    repeated,
    restarts: polyphony.services.get(VICTIM).restarts,
    shareBackMs,
  }
}

function pidOf({ services }: Polyphony): number {
  const pid = services.get(VICTIM).process?.pid
  if (pid === undefined) throw new Error('expected the server to run')
  return pid
}

/** Runs short flows until 40 at once are shared by 40 to 60 %. */
async function measureShare(world: ModelServers, polyphony: Polyphony): Promise<number> {
  const since = performance.now()
  const definition = {
    name: 'one draft',
    type: 'sequential' as const,
    steps: [{ id: 'draft', model: 'pool/writers', action: 'generate' as const, maxRetries: 8 }],
  }
  await until('the share is back', async () => {
    const results = await Promise.all(Array.from({ length: 40 }, () => world.run(polyphony, definition, { streaming: true })))
    const ofVictim = results.filter(({ steps }) => steps[0]?.provider === VICTIM).length
    return ofVictim >= 16 && ofVictim <= 24
  })
  return performance.now() - since
}
