import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { MachineEvent, MemoryUse } from '../../src/services/machine/machine-model.ts'
import { restartDelay } from '../../src/services/machine/restart-policy.ts'
import { createMachineWorld, SETTINGS } from './machine-world.ts'

const error = { code: 'SERVICE_START_FAILED', message: 'no such program' } as const

describe('the state machine of a service', () => {
  test('10,000 random histories never have two runs, obey no old timer, and always find a way out of their state', {
    timeout: 300_000,
  }, () => {
    const kinds = [
      'start',
      'stop',
      'restart',
      'admitted',
      'dependency_failed',
      'started',
      'start_failed',
      'ready',
      'good',
      'bad',
      'call',
      'drained',
      'crash',
      'complete',
      'unkillable',
      'memory',
      'lease',
      'beat',
      'time',
      'old_timer',
      'old_exit',
    ] as const
    const history = fc.array(fc.tuple(fc.constantFrom(...kinds), fc.integer({ min: 1, max: 700_000 })), { maxLength: 60 })
    const settings = fc.record({
      ready: fc.constantFrom('probe', 'line', 'uptime', 'started'),
      when: fc.constantFrom('failure', 'always', 'never'),
      maxRetries: fc.integer({ min: 0, max: 4 }),
    })
    fc.assert(
      fc.property(history, settings, fc.integer({ min: 0, max: 99 }), (events, { ready, when, maxRetries }, chance) => {
        const world = createMachineWorld(
          { ready, hasProbe: ready === 'probe', restart: { ...SETTINGS.restart, when, maxRetries } },
          () => chance / 100,
        )
        for (const [kind, ms] of events) {
          const run = world.run()
          const before = world.model()
          const table: Record<(typeof kinds)[number], () => void> = {
            start: () => world.dispatch({ kind: 'start' }),
            stop: () => world.dispatch({ kind: 'stop' }),
            restart: () => world.dispatch({ kind: 'restart' }),
            admitted: () => world.dispatch({ kind: 'admitted' }),
            dependency_failed: () => world.dispatch({ kind: 'dependency_failed', error }),
            started: () => before.exists || world.dispatch({ kind: 'started', run }),
            start_failed: () => {
              if (before.exists || before.run === undefined) return
              world.alive.delete(run)
              world.dispatch({ kind: 'start_failed', run, error })
            },
            ready: () => world.dispatch({ kind: 'ready', run }),
            good: () => world.probe(true),
            bad: () => world.probe(false),
            call: () => world.dispatch({ kind: 'call_succeeded', run }),
            drained: () => world.dispatch({ kind: 'drained', run }),
            crash: () => before.exists && world.exit(1),
            complete: () => before.exists && world.exit(0),
            unkillable: () => world.dispatch({ kind: 'unkillable', run, error: { code: 'SERVICE_UNKILLABLE', message: 'left' } }),
            memory: () => world.dispatch({ kind: 'memory', run, use: ms % 2 ? 'over' : 'far_over' }),
            lease: () => world.dispatch({ kind: 'lease_missed', run }),
            beat: () => world.dispatch({ kind: 'beat', run }),
            time: () => world.advance(ms),
            old_timer: () => {
              const token = (world.timerToken() ?? before.timers + 1) - 1
              const { model } = { model: world.model() }
              if (token > 0 && token !== model.timer?.token) {
                world.dispatch({ kind: 'timer', token })
                expect(world.model()).toBe(model)
              }
            },
            old_exit: () => {
              if (run < 2) return
              world.dispatch({ kind: 'exit', run: run - 1, exit: { at: new Date(0) } })
              expect(world.model()).toBe(before)
            },
          }
          table[kind]()
          expect(world.alive.size, kind).toBeLessThanOrEqual(1)
          expect([...world.alive], kind).toEqual(world.model().run === undefined ? [] : [world.model().run])
        }
        // Whatever happened, a stop, the end of the run and the passing of time bring it to `idle`, and a start to a run.
        world.dispatch({ kind: 'stop' })
        for (let round = 0; round < 5; round++) {
          const { run, exists } = world.model()
          if (run !== undefined && exists) world.exit(0)
          else if (run !== undefined) {
            world.alive.delete(run)
            world.dispatch({ kind: 'start_failed', run, error })
          }
          world.dispatch({ kind: 'stop' })
        }
        expect(world.model().state).toBe('idle')
        expect(world.alive.size).toBe(0)
        world.dispatch({ kind: 'start' })
        world.dispatch({ kind: 'admitted' })
        expect(world.model().state).toBe('starting')
      }),
      { numRuns: 10_000 },
    )
  })

  test('without any command or event, time alone leads out of every state that is no rest', () => {
    const world = createMachineWorld()
    world.dispatch({ kind: 'start' })
    world.dispatch({ kind: 'admitted' })
    world.advance(SETTINGS.startTimeoutMs)
    // A driver whose start never ends after its abort.
    expect(world.model().state).toBe('stopping')
    world.advance(60_000)
    expect(world.model()).toMatchObject({ state: 'failed', lastError: { code: 'SERVICE_UNKILLABLE' } })
    const other = createMachineWorld()
    other.bringUp()
    other.dispatch({ kind: 'stop' })
    other.advance(60_000)
    expect(other.effects.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['drain', 'request_stop', 'kill']))
    expect(other.model().state).toBe('failed')
    // The run may still live, so a start ends it first.
    other.dispatch({ kind: 'start' })
    expect(other.model().state).toBe('stopping')
    expect(other.spawns()).toBe(1)
    other.exit(0)
    other.dispatch({ kind: 'admitted' })
    expect(other.spawns()).toBe(2)
  })

  test('a crash loop starts once more for each retry, waits longer each time, and then gives up', () => {
    const restart = { ...SETTINGS.restart, maxRetries: 5, delayMs: 100 }
    const world = createMachineWorld({ restart, ready: 'uptime', hasProbe: false })
    world.dispatch({ kind: 'start' })
    for (let start = 0; start < 6; start++) {
      world.dispatch({ kind: 'admitted' })
      world.dispatch({ kind: 'started', run: world.run() })
      world.advance(20)
      world.exit(1)
      if (start < 5) world.advance(world.delays.at(-1) ?? 0)
    }
    expect(world.spawns()).toBe(6)
    expect(world.delays).toEqual([100, 200, 400, 800, 1_600])
    expect(world.model()).toMatchObject({ state: 'failed', restarts: 5, lastError: { code: 'SERVICE_GAVE_UP' } })
    expect(world.model().lastError?.details).toMatchObject({ cause: 'SERVICE_START_FAILED', exitCode: 1, attempts: 6 })
  })

  test('a service that crashes 1.5 s after each start uses its retries up, and ten minutes of health clear the count', () => {
    const world = createMachineWorld({ ready: 'uptime', hasProbe: false })
    world.dispatch({ kind: 'start' })
    const dayMs = 86_400_000
    while (world.nowMs() < dayMs && world.model().state !== 'failed') {
      world.dispatch({ kind: 'admitted' })
      if (world.model().run !== undefined) {
        world.dispatch({ kind: 'started', run: world.run() })
        world.advance(1_500)
        expect(world.model().state).toBe('running')
        world.exit(1)
      }
      world.advance(1_000)
    }
    expect(world.model().state).toBe('failed')
    expect(world.spawns()).toBe(4)

    const healthy = createMachineWorld()
    healthy.bringUp()
    healthy.exit(1)
    healthy.advance(30_000)
    healthy.dispatch({ kind: 'admitted' })
    healthy.dispatch({ kind: 'started', run: healthy.run() })
    healthy.probe(true)
    healthy.advance(599_999)
    expect(healthy.model().attempt).toBe(1)
    healthy.advance(1)
    expect(healthy.model().attempt).toBe(0)
    healthy.exit(1)
    expect(healthy.delays.at(-1)).toBe(1_000)
  })

  test('success ends in idle, a signal is a failure, and what we ended is no failure', () => {
    const completed = createMachineWorld()
    completed.bringUp()
    completed.exit(0)
    expect(completed.model()).toMatchObject({ state: 'idle', restarts: 0, lastExit: { reason: 'completed' } })
    const ours = createMachineWorld()
    ours.bringUp()
    ours.dispatch({ kind: 'stop' })
    ours.dispatch({ kind: 'drained', run: ours.run() })
    ours.exit(143)
    expect(ours.model()).toMatchObject({ state: 'idle', attempt: 0, lastExit: { code: 143, reason: 'stopped' } })
    const crashed = createMachineWorld()
    crashed.bringUp()
    crashed.exit(undefined, 'SIGSEGV')
    expect(crashed.model()).toMatchObject({ state: 'backoff', lastExit: { signal: 'SIGSEGV', reason: 'crashed' } })
    const adopted = createMachineWorld()
    adopted.bringUp()
    adopted.exit()
    expect(adopted.model()).toMatchObject({ state: 'backoff', lastExit: { reason: 'unknown' } })
    const listed = createMachineWorld({ successExitCodes: [143] })
    listed.bringUp()
    listed.exit(143)
    expect(listed.model()).toMatchObject({ state: 'idle', restarts: 0 })
    const always = createMachineWorld({ restart: { ...SETTINGS.restart, when: 'always' } })
    always.bringUp()
    always.exit(0)
    expect(always.model()).toMatchObject({ state: 'backoff', attempt: 0 })
    const never = createMachineWorld({ restart: { ...SETTINGS.restart, when: 'never' } })
    never.bringUp()
    never.exit(1)
    expect(never.model()).toMatchObject({ state: 'failed', lastError: { code: 'SERVICE_START_FAILED' } })
  })

  test('a service that hangs is degraded after three probes and started again only after restartAfterMs', () => {
    const world = createMachineWorld()
    world.bringUp()
    world.probe(false)
    world.probe(false)
    expect(world.model().state).toBe('running')
    world.probe(false)
    expect(world.model()).toMatchObject({ state: 'degraded', health: 'unhealthy' })
    world.advance(SETTINGS.restartAfterMs - 1)
    expect(world.model().state).toBe('degraded')
    world.advance(1)
    expect(world.model()).toMatchObject({ state: 'stopping', reason: 'unhealthy' })
    world.advance(0)
    world.exit(0)
    expect(world.model()).toMatchObject({ state: 'backoff', attempt: 1 })
  })

  test('a slow service whose calls succeed is never started again', () => {
    const world = createMachineWorld()
    world.bringUp()
    for (let interval = 0; interval < 100; interval++) {
      world.advance(30_000)
      world.probe(false)
      world.dispatch({ kind: 'call_succeeded', run: world.run() })
    }
    expect(world.spawns()).toBe(1)
    expect(world.model().restarts).toBe(0)
  })

  test('a service that ignores its stop is ended by force, and one that survives that is failed with what is left', () => {
    const world = createMachineWorld()
    world.bringUp()
    world.dispatch({ kind: 'stop' })
    world.dispatch({ kind: 'drained', run: world.run() })
    expect(world.effects.some(({ kind }) => kind === 'request_stop')).toBe(true)
    world.advance(SETTINGS.stopTimeoutMs)
    expect(world.effects.some(({ kind }) => kind === 'kill')).toBe(true)
    world.dispatch({
      kind: 'unkillable',
      run: world.run(),
      error: { code: 'SERVICE_UNKILLABLE', message: 'left', details: { pids: [77] } },
    })
    expect(world.model()).toMatchObject({ state: 'failed', lastError: { code: 'SERVICE_UNKILLABLE', details: { pids: [77] } } })
    expect(world.model().run).toBeDefined()
  })

  test('a service that is good and bad by turns for an hour changes its state at most 20 times and is not started again', () => {
    const world = createMachineWorld()
    world.bringUp()
    for (let ms = 0; ms < 3_600_000; ) {
      for (let bad = 0; bad < 3; bad++, ms += 2_000) {
        world.advance(2_000)
        world.probe(false)
      }
      for (let good = 0; good < 2; good++, ms += 2_000) {
        world.advance(2_000)
        world.probe(true)
      }
    }
    expect(world.states.length).toBeLessThanOrEqual(20)
    expect(world.model().flaps).toBeGreaterThan(1)
    expect(world.spawns()).toBe(1)
  })

  test('commands while a service stops decide what comes after it: the last one counts', () => {
    for (const [commands, state] of [
      [['start'], 'waiting'],
      [['restart', 'stop'], 'idle'],
      [['start', 'stop', 'start'], 'waiting'],
    ] as const) {
      const world = createMachineWorld()
      world.bringUp()
      world.dispatch({ kind: 'stop' })
      for (const kind of commands) world.dispatch({ kind })
      world.exit(0)
      expect(world.model().state, commands.join()).toBe(state)
    }
  })

  test('two samples over the memory limit end the run, one does not', () => {
    const world = createMachineWorld()
    world.bringUp()
    const sample = (use: MemoryUse): MachineEvent => ({ kind: 'memory', run: world.run(), use })
    world.dispatch(sample('over'))
    world.dispatch(sample('within'))
    world.dispatch(sample('over'))
    expect(world.model().state).toBe('running')
    world.dispatch(sample('over'))
    expect(world.model()).toMatchObject({ state: 'stopping', reason: 'memory', next: 'backoff' })
    expect(world.effects).toContainEqual({ kind: 'limit', limit: 'memory' })
  })

  test('memory counts from the start of a run, and a run that grows far over its limit while it is stopped is killed', () => {
    const world = createMachineWorld()
    world.dispatch({ kind: 'start' })
    world.dispatch({ kind: 'admitted' })
    world.dispatch({ kind: 'started', run: world.run() })
    const sample = (use: MemoryUse) => world.dispatch({ kind: 'memory', run: world.run(), use })
    sample('over')
    sample('over')
    expect(world.model()).toMatchObject({ state: 'stopping', reason: 'memory', next: 'backoff' })
    world.dispatch({ kind: 'drained', run: world.run() })
    sample('over')
    expect(world.effects).not.toContainEqual({ kind: 'kill', run: world.run() })
    sample('far_over')
    sample('far_over')
    expect(world.effects.filter(({ kind }) => kind === 'kill')).toEqual([{ kind: 'kill', run: world.run() }])
    world.advance(5_999)
    expect(world.model().state).toBe('stopping')
    world.advance(1)
    expect(world.model()).toMatchObject({ state: 'failed', lastError: { code: 'SERVICE_UNKILLABLE' } })
  })

  test('a run that grows far over its limit while calls in flight may still end is killed as well', () => {
    const world = createMachineWorld({ ready: 'started', hasProbe: false })
    world.bringUp()
    world.dispatch({ kind: 'stop', drainMs: 60_000 })
    const sample = (use: MemoryUse) => world.dispatch({ kind: 'memory', run: world.run(), use })
    sample('over')
    expect(world.model().timer?.name).toBe('drain')
    expect(world.effects.filter(({ kind }) => kind === 'kill')).toEqual([])
    sample('far_over')
    expect(world.effects.filter(({ kind }) => kind === 'kill')).toEqual([{ kind: 'kill', run: world.run() }])
    world.exit(0)
    expect(world.model()).toMatchObject({ state: 'idle', lastExit: { reason: 'stopped' } })
  })

  test('a lease that is not renewed degrades a service, ten of them end it, and a heartbeat brings it back', () => {
    const world = createMachineWorld({ ready: 'started', hasProbe: false })
    world.bringUp()
    world.dispatch({ kind: 'lease_missed', run: world.run() })
    expect(world.model().state).toBe('degraded')
    world.dispatch({ kind: 'beat', run: world.run() })
    expect(world.model().state).toBe('running')
    for (let lease = 0; lease < 10; lease++) world.dispatch({ kind: 'lease_missed', run: world.run() })
    expect(world.model().state).toBe('stopping')
    world.exit()
    expect(world.model()).toMatchObject({ state: 'idle', attempt: 0 })
  })
})

describe('the restart policy', () => {
  test('delays double up to their bound and lie within 20 % of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, random) => {
          const policy = { when: 'failure', maxRetries: 100, delayMs: 1_000, maxDelayMs: 300_000, resetAfterMs: 600_000 } as const
          const base = Math.min(1_000 * 2 ** (attempt - 1), 300_000)
          const delay = restartDelay(policy, attempt, 0, random) ?? Number.NaN
          expect(delay).toBeGreaterThanOrEqual(Math.floor(base * 0.8))
          expect(delay).toBeLessThanOrEqual(Math.ceil(base * 1.2))
        },
      ),
    )
    expect(restartDelay({ ...SETTINGS.restart, maxRetries: 0 }, 1, 0, 0.5)).toBeUndefined()
  })

  test('a delay stays a number after thousands of failures', () => {
    const endless = { ...SETTINGS.restart, maxRetries: 1_000_000 }
    expect(restartDelay({ ...endless, delayMs: 0 }, 5_000, 0, 0.5)).toBe(0)
    expect(restartDelay(endless, 5_000, 0, 0.5)).toBe(300_000)
  })
})
