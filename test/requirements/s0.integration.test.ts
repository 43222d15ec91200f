// The orchestra of services (REQUIREMENTS section S0).
//
// S0-01: the orchestra of the package starts a declared service and says its status
// S0-02: no more services run than maxConcurrentServices
// S0-03: a failed start is repeated retryAttempts times
// S0-04: logLevel decides which lines are logged, and none of them has a prompt
// S0-05: metrics count only while they are enabled
// S0-06: the orchestra of the package starts a declared service and says its status
// S0-07: ids are unique, and a new service is idle
// S0-08: ids are unique, and a new service is idle
// S0-09: the config is typed and checked by the type of the service
// S0-10: metadata is kept and given back
// S0-11: the orchestra of the package starts a declared service and says its status
// S0-12: stopping cleans up after calls in flight
// S0-13: the orchestra of the package starts a declared service and says its status
// S0-14: handlers hear of registrations and errors until they are removed
// S0-15: handlers hear of registrations and errors until they are removed
// S0-16: services of every type have a life
// S0-17: services of every type have a life
// S0-18: services of every type have a life
// S0-19: services of every type have a life
// S0-20: services of every type have a life
// S0-21: services of every type have a life
// S0-22: services of every type have a life
// S0-23: handlers hear of registrations and errors until they are removed
// S0-24: handlers hear of registrations and errors until they are removed
// S0-25: a service that became unhealthy is started again by itself
// S0-26: metrics count only while they are enabled
// S0-27: services talk to each other
// S0-28: the failure of one service stops no other
// S0-29: the entry point exports the orchestra and its types from the modules of the layout

import { Orchestra, type OrchestraEvent, type OrchestraOptions, type OrchestraServiceInput } from 'polyphony'
import { afterEach, describe, expect, expectTypeOf, test } from 'vitest'
import { caught } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const opened: { close(): Promise<void> }[] = []
const open = (options: OrchestraOptions = {}) => {
  const orchestra = new Orchestra({ logLevel: 'silent', ...options })
  opened.push(orchestra)
  return orchestra
}
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close()
})
const next = (orchestra: Orchestra, type: string, holds: (event: OrchestraEvent) => boolean = () => true) =>
  new Promise<OrchestraEvent>((resolve) => {
    const handler = (event: OrchestraEvent) => {
      if (!holds(event)) return
      orchestra.off(type, handler)
      resolve(event)
    }
    orchestra.on(type, handler)
  })
const fails = () => {
  throw new Error('no licence')
}

describe('the orchestra', () => {
  test('the orchestra of the package starts a declared service and says its status', async () => {
    const orchestra = open({ maxConcurrentServices: 10, retryAttempts: 3, enableMetrics: true })
    await orchestra.registerService({
      id: 'llm-service-1',
      name: 'Claude Integration',
      type: 'llm',
      status: 'idle',
      config: { model: 'claude-3-sonnet', maxTokens: 4096 },
    })
    expect(orchestra.getServiceStatus('llm-service-1')).toBe('idle')
    await orchestra.startService('llm-service-1')
    const status = orchestra.getServiceStatus('llm-service-1')
    expectTypeOf(status).toExtend<string>()
    expect(status).toBe('running')
  })

  test('every wrong option is refused by its name, and so is a handler that is no function', () => {
    const wrong: readonly (readonly [string, RegExp])[] = [
      ['{"maxConcurrentServices":0}', /maxConcurrentServices: expected at least 1, found 0/],
      ['{"retryAttempts":"3"}', /retryAttempts: expected number, found "3"/],
      ['{"logLevel":"loud"}', /logLevel: expected one of silent, error, warn, info, debug, found "loud"/],
      ['{"enableMetrics":"yes"}', /enableMetrics: expected boolean, found "yes"/],
      ['{"whenFull":"queue"}', /whenFull: expected one of refuse, wait/],
      ['{"maxConcurentServices":2}', /maxConcurentServices: unknown key; did you mean "maxConcurrentServices"\?/],
      ['null', /expected object, found null/],
    ]
    for (const [json, message] of wrong) {
      const error = caught(() => new Orchestra(JSON.parse(json)))
      expect(error, json).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) })
    }
    const orchestra = open()
    expect(caught(() => Reflect.apply(orchestra.on, orchestra, ['error', 'no function']))).toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  test('no more services run than maxConcurrentServices', async () => {
    const orchestra = open({ maxConcurrentServices: 2 })
    for (const id of ['a', 'b', 'c']) await orchestra.registerService({ id, type: 'llm' })
    const results = await Promise.allSettled(['a', 'b', 'c'].map((id) => orchestra.startService(id)))
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    await expect(orchestra.startService('c')).rejects.toMatchObject({ code: 'SERVICE_LIMIT_REACHED', details: { limit: 2 } })
    await orchestra.stopService('a')
    expect((await orchestra.startService('c')).state).toBe('running')

    const patient = open({ maxConcurrentServices: 1, whenFull: 'wait' })
    for (const id of ['a', 'b']) await patient.registerService({ id, type: 'llm' })
    await patient.startService('a')
    const waiting = patient.startService('b')
    expect(patient.getServiceStatus('b')).toBe('waiting')
    await patient.stopService('a')
    expect((await waiting).state).toBe('running')
  })

  test('a failed start is repeated retryAttempts times', async () => {
    const orchestra = open({ retryAttempts: 1 })
    let starts = 0
    const start = () => {
      starts++
      fails()
    }
    await orchestra.registerService({ id: 'one', type: 'agent', handlers: { start } })
    await expect(orchestra.startService('one')).rejects.toMatchObject({ code: 'SERVICE_GAVE_UP' })
    expect(starts).toBe(2)
    expect(() => open({ retryAttempts: -1 })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  test('logLevel decides which lines are logged, and none of them has a prompt', async () => {
    const lines: string[] = []
    const write = (level: string) => (message: string, facts?: object) =>
      lines.push(`${level} ${message} ${JSON.stringify(facts)}`)
    const logger = { error: write('error'), warn: write('warn'), info: write('info'), debug: write('debug') }
    for (const logLevel of ['info', 'error'] as const) {
      const orchestra = open({ logLevel, logger, retryAttempts: 0 })
      await orchestra.registerService({ id: 'echo', type: 'agent', handlers: { onMessage: () => 'secret answer' } })
      await orchestra.startService('echo')
      await orchestra.send('echo', 'secret prompt')
      await orchestra.registerService({ id: 'bad', type: 'agent', handlers: { start: fails } })
      await expect(orchestra.startService('bad')).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
      if (logLevel === 'info') expect(lines.some((line) => line.startsWith('info'))).toBe(true)
      else expect(lines.every((line) => line.startsWith('error'))).toBe(true)
      expect(lines.some((line) => line.startsWith('error'))).toBe(true)
      expect(lines.join()).not.toContain('secret')
      await orchestra.close()
      lines.length = 0
    }
  })

  test('metrics count only while they are enabled', async () => {
    const measure = async (enableMetrics: boolean) => {
      const orchestra = open({ enableMetrics, retryAttempts: 0 })
      await orchestra.registerService({ id: 'echo', type: 'agent', handlers: { onMessage: () => 'yes' } })
      await orchestra.registerService({ id: 'idle', type: 'voice' })
      await orchestra.startService('echo')
      await orchestra.send('echo', 'hi')
      await expect(orchestra.send('idle', 'hi')).rejects.toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
      return orchestra.getMetrics()
    }
    expect(await measure(true)).toMatchObject({
      enabled: true,
      services: 2,
      byState: { running: 1, idle: 1 },
      starts: 1,
      calls: 2,
      failedCalls: 1,
    })
    expect(await measure(false)).toMatchObject({ enabled: false, services: 2, starts: 0, calls: 0, averageCallMs: 0 })
  })

  test('ids are unique, and a new service is idle', async () => {
    const orchestra = open()
    expect(await orchestra.registerService({ id: 'one', type: 'llm', status: 'idle' })).toMatchObject({ state: 'idle' })
    await expect(orchestra.registerService({ id: 'one', type: 'llm' })).rejects.toMatchObject({ code: 'SERVICE_EXISTS' })
    const running: object = { status: 'running' }
    await expect(orchestra.registerService({ id: 'two', type: 'llm', ...running })).rejects.toMatchObject({
      code: 'SERVICE_INVALID',
    })
    expect(() => orchestra.getServiceStatus('onne')).toThrow(expect.objectContaining({ code: 'SERVICE_NOT_FOUND' }))
  })

  test('the config is typed and checked by the type of the service', async () => {
    const orchestra = open()
    type Llm = Extract<OrchestraServiceInput, { type: 'llm' }>
    expectTypeOf<{ model: string; maxTokens: number }>().toExtend<NonNullable<Llm['config']>>()
    expectTypeOf<{ maxTokens: string }>().not.toExtend<NonNullable<Llm['config']>>()
    for (const [type, config] of [
      ['llm', { maxTokens: 'many' }],
      ['voice', { sampleRate: 0 }],
      ['network', { port: 70_000 }],
      ['graphics', { width: -1 }],
    ] as const) {
      const service: object = { config }
      await expect(orchestra.registerService({ id: 'one', type, ...service }), type).rejects.toMatchObject({
        code: 'SERVICE_INVALID',
      })
    }
  })

  test('metadata is kept and given back', async () => {
    const orchestra = open()
    await orchestra.registerService({ id: 'one', type: 'education', metadata: { team: 'maths', level: 3 } })
    expect(orchestra.getService('one').metadata).toEqual({ team: 'maths', level: 3 })
  })

  test('stopping cleans up after calls in flight', async () => {
    const orchestra = open()
    const order: string[] = []
    let answer = () => {}
    const asked = new Promise<void>((resolve) => {
      answer = resolve
    })
    await orchestra.registerService({
      id: 'one',
      type: 'voice',
      handlers: { onMessage: () => asked.then(() => void order.push('answered')), stop: () => void order.push('released') },
    })
    await orchestra.startService('one')
    const sent = orchestra.send('one', 'hi')
    const stopping = orchestra.stopService('one')
    answer()
    await Promise.all([sent, stopping])
    expect(order).toEqual(['answered', 'released'])
  })

  test('handlers hear of registrations and errors until they are removed', async () => {
    const orchestra = open({ retryAttempts: 0 })
    const heard: string[] = []
    const handler = ({ serviceId }: OrchestraEvent) => heard.push(serviceId)
    orchestra.on('service-registered', handler).on('service-registered', fails)
    await orchestra.registerService({ id: 'one', type: 'agent', handlers: { start: fails } })
    orchestra.off('service-registered', handler)
    await orchestra.registerService({ id: 'two', type: 'agent' })
    expect(heard).toEqual(['one'])
    const failed = next(orchestra, 'error')
    const states = next(orchestra, 'service-state')
    await orchestra.startService('one').catch(() => undefined)
    expect(await failed).toMatchObject({ serviceId: 'one', error: { code: 'SERVICE_START_FAILED', message: expect.any(String) } })
    expect(await states).toMatchObject({ serviceId: 'one', data: { from: 'idle', to: 'waiting' }, timestamp: expect.any(Date) })
  })

  test('services of every type have a life', async () => {
    const orchestra = open()
    for (const type of ['llm', 'voice', 'graphics', 'network', 'education', 'agent'] as const) {
      await orchestra.registerService({ id: type, type })
      expect((await orchestra.startService(type)).state).toBe('running')
      expect((await orchestra.restartService(type)).state).toBe('running')
      expect((await orchestra.stopService(type)).state).toBe('idle')
      expect(orchestra.listServices({ type })).toHaveLength(1)
    }
  })

  test('a service that became unhealthy is started again by itself', async () => {
    const orchestra = open()
    let starts = 0
    await orchestra.registerService({
      id: 'one',
      type: 'network',
      handlers: { start: () => void starts++, health: () => starts > 1 },
      startTimeoutMs: 50,
      restart: { delayMs: 1 },
      health: { startIntervalMs: 5 },
    })
    await orchestra.startService('one')
    expect(starts).toBe(2)
    expect(orchestra.getService('one')).toMatchObject({ health: 'healthy', restarts: 1 })
  })

  test('services talk to each other', async () => {
    const orchestra = open()
    await orchestra.registerService({ id: 'ear', type: 'voice', handlers: { onMessage: (message) => ({ body: message }) } })
    const heard = next(orchestra, 'heard')
    await orchestra.registerService({
      id: 'mouth',
      type: 'voice',
      handlers: {
        async start({ call, publish }) {
          publish('heard', await call('ear', { prompt: 'hello' }))
        },
      },
    })
    await orchestra.startService('ear')
    await orchestra.startService('mouth')
    expect(await heard).toMatchObject({ serviceId: 'mouth', data: { body: { prompt: 'hello' } } })
  })

  test('the failure of one service stops no other', async () => {
    const orchestra = open({ retryAttempts: 0 })
    await orchestra.registerService({ id: 'good', type: 'agent', handlers: { onMessage: () => 'here' } })
    await orchestra.registerService({ id: 'bad', type: 'agent', handlers: { start: fails, stop: fails, onMessage: fails } })
    await orchestra.startService('good')
    await expect(orchestra.startService('bad')).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
    expect(await orchestra.send('good', 'hi')).toEqual({ text: 'here' })
  })

  test('the entry point exports the orchestra and its types from the modules of the layout', async () => {
    const polyphony = await openTestPolyphony()
    opened.push(polyphony)
    const orchestra = open({ polyphony })
    const registered = next(orchestra, 'service-registered')
    await orchestra.registerService({ id: 'one', type: 'llm' })
    expect((await registered).serviceId).toBe('one')
    expect(polyphony.services.list().map(({ id }) => id)).toEqual(['one'])
    await polyphony.services.start('one')
    expect(orchestra.getServiceStatus('one')).toBe('running')
    await polyphony.close()
    expect(orchestra.getServiceStatus('one')).toBe('idle')
  })
})
