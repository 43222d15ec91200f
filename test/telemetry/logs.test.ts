import { afterEach, describe, expect, test } from 'vitest'
import type { Logger, LogLevel } from '../../src/config/config.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createServerLogger, toLogger } from '../../src/telemetry/logs.ts'
import { requestContext } from '../../src/telemetry/request-context.ts'
import { chain } from '../support/flows.ts'
import { counted, failure, modelAStep, openServices, type Services, scriptedProvider, USER } from './services.ts'

let services: Services | undefined
afterEach(async () => {
  await services?.polyphony.close()
  services = undefined
})

type Line = Readonly<Record<string, unknown>>

function createLog(level: LogLevel = 'debug') {
  const written: string[] = []
  const logger = createServerLogger({ level, destination: { write: (line) => written.push(line) } })
  return {
    logger,
    text: () => written.join(''),
    lines: (): readonly Line[] => written.map((line) => JSON.parse(line)),
  }
}

/** A logger that keeps its lines. */
function createKeeper() {
  const logged: { level: string; message: string; facts: Line }[] = []
  const at =
    (level: string) =>
    (message: string, facts: Line = {}) =>
      void logged.push({ level, message, facts })
  const logger: Logger = { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }
  return { logged, logger }
}

const secret = (kind: string) => `canary-${kind}-4d1f`

describe('redaction', () => {
  const NAMES = [
    ...['key', 'apiKey', 'api_key', 'x-api-key', 'openaiApiKey', 'authorization', 'Authorization', 'proxy-authorization'],
    ...[
      'cookie',
      'set-cookie',
      'sec-websocket-protocol',
      'token',
      'accessToken',
      'refresh_token',
      'ticket',
      'password',
      'clientSecret',
    ],
    ...[
      'input',
      'output',
      'finalOutput',
      'content',
      'prompt',
      'originalPrompt',
      'system',
      'messages',
      'history',
      'text',
      'delta',
    ],
    ...[
      'body',
      'headers',
      'query',
      'answer',
      'arguments',
      'metadata',
      'attachments',
      'reasoningText',
      'parsed',
      'samples',
      'data',
    ],
  ]

  test.each(NAMES)('a log line omits values named %s at any depth and of any shape', (name) => {
    const { logger, text, lines } = createLog()
    const canary = secret(name)
    logger.info({ [name]: canary }, 'flat')
    logger.info({ a: { b: [{ [name]: { deep: [canary] } }] } }, 'deep')
    logger.child({ [name]: canary }).debug('child')
    logger.child({ inner: { [name]: [canary] } }).debug('inner')
    toLogger(logger).error('facts', { outer: { [name]: canary } })
    expect(lines()).toHaveLength(5)
    expect(text()).not.toContain(canary)
    expect(text()).toContain('[redacted]')
  })

  const SHAPES: readonly (readonly [string, string, string])[] = [
    ['a key of ours', 'pk_a1b2c3_canarySecretOfAKey', 'canarySecretOfAKey'],
    ['a bearer token', 'Bearer canary.bearer~token', 'canary.bearer~token'],
    ['a basic credential', 'Basic Y2FuYXJ5OmJhc2lj', 'Y2FuYXJ5OmJhc2lj'],
    ['a key of OpenAI', 'sk-proj-canary_0123456789', 'canary_0123456789'],
    ['a key of Anthropic', 'sk-ant-api03-canary-0123456789', 'canary-0123456789'],
    ['a key of Groq', 'gsk_canary0123456789', 'canary0123456789'],
    ['a key of xAI', 'xai-canary0123456789', 'canary0123456789'],
    ['a key of Google', 'AIzaSyCanary0123456789', 'Canary0123456789'],
    ['a JWT', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl', 'eyJzdWIiOiJjYW5hcnkifQ'],
    ['a password in an address', 'postgres://polyphony:canary-pass@db:5432/flows', 'canary-pass'],
    ['a ticket in an address', '/ws?ticket=canaryticket01&x=1', 'canaryticket01'],
    ['a key in an address', 'https://host/v1?api_key=canarykey01', 'canarykey01'],
  ]

  test.each(SHAPES)('a log line omits %s in any text', (_, credential, canary) => {
    const { logger, text, lines } = createLog()
    logger.info(`it was ${credential} there`)
    logger.warn({ note: `before "${credential}" after`, list: [{ deep: credential }] }, 'facts')
    logger.error(new Error(`failed with ${credential}`))
    logger.error({ err: new OrchestratorError('INTERNAL', `failed with ${credential}`) }, `message ${credential}`)
    logger.info({ [credential]: 1 }, 'as a name')
    logger.info('formatted %s', credential)
    expect(lines()).toHaveLength(6)
    expect(text()).not.toContain(canary)
  })

  test('a log line keeps counts, codes, ids and ordinary words', () => {
    const { logger, lines } = createLog()
    const facts = {
      input: 12,
      tokens: 40,
      keyId: 'a1b2',
      flowId: '01a1-f7b2',
      code: 'PROVIDER_AUTH',
      model: 'gpt-5.4',
      done: true,
      none: null,
    }
    logger.info(facts, 'Unexpected token } in basic key, task-7 of 3')
    expect(lines()[0]).toMatchObject({ ...facts, level: 'info', msg: 'Unexpected token } in basic key, task-7 of 3' })
  })

  test('an error is logged without its causes and its other fields', () => {
    const { logger, lines, text } = createLog()
    const cause = Object.assign(new Error(secret('cause')), { body: secret('body') })
    const error = new OrchestratorError('PROVIDER_REJECTED', 'refused', { cause, details: { said: secret('details') } })
    logger.error({ err: error }, 'a request failed')
    expect(lines()[0]).toMatchObject({ err: { type: 'OrchestratorError', code: 'PROVIDER_REJECTED', message: 'refused' } })
    expect(text()).not.toContain('canary-')
  })

  test('a request is logged by method and path, without query and headers', () => {
    const { logger, lines, text } = createLog()
    const request = { method: 'GET', url: `/ws?t=${secret('query')}`, ip: '127.0.0.1', headers: { cookie: secret('cookie') } }
    logger.info({ req: request, res: { statusCode: 204, headers: { 'set-cookie': secret('set') } } }, 'answered')
    expect(lines()[0]).toMatchObject({ req: { method: 'GET', path: '/ws', ip: '127.0.0.1' }, res: { status: 204 } })
    expect(text()).not.toContain('canary-')
  })

  test('a long hostile text is redacted in time proportional to its length', () => {
    const { logger, text } = createLog()
    for (const word of ['a-', 'eyJ-', 'eyJa.', 'Bearer ', '://', 'key', 'pk', 'sk-'])
      logger.info({ note: word.repeat(50_000) }, 'long')
    expect(text().length).toBeGreaterThan(0)
  })
})

describe('lines of flows', () => {
  /** One flow that is retried and answers, one that fails, with canaries in all that users, models and vendors write. */
  async function runWithCanaries(logger: Logger, logLevel?: LogLevel): Promise<void> {
    const said = (code: 'PROVIDER_UNAVAILABLE' | 'PROVIDER_REJECTED') =>
      Object.assign(failure(code), { message: `said ${secret('vendor')}` })
    const replies = [said('PROVIDER_UNAVAILABLE'), counted(secret('answer')), said('PROVIDER_REJECTED')]
    services = await openServices({ scripted: scriptedProvider('scripted', replies) }, { logger, logLevel })
    await services?.polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
    const prompts = { prompt: `${secret('prompt')} {{ metadata.word }}`, system: secret('system') }
    const definition = { ...chain(modelAStep('a', prompts)), name: secret('name'), description: secret('description') }
    const options = { input: secret('input'), metadata: { word: secret('metadata') } }
    await requestContext.run({ requestId: 'request-1' }, () => services?.run(definition, options))
    const failed = requestContext.run({ requestId: 'request-2' }, () => services?.run(definition, options))
    await expect(failed).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
  }

  test('contain ids, codes and figures of every flow, call and failed attempt at level debug, and no text', async () => {
    const { logger, lines, text } = createLog()
    await runWithCanaries(toLogger(logger), 'debug')
    const logged = lines().map(({ level, msg, requestId, code, status, errorCode }) => [
      level,
      msg,
      requestId,
      code ?? errorCode ?? status,
    ])
    expect(logged).toEqual([
      ['info', 'flow started', 'request-1', undefined],
      ['debug', 'attempt failed', 'request-1', 'PROVIDER_UNAVAILABLE'],
      ['debug', 'call ended', 'request-1', 'ok'],
      ['info', 'flow ended', 'request-1', 'COMPLETED'],
      ['info', 'flow started', 'request-2', undefined],
      ['debug', 'attempt failed', 'request-2', 'PROVIDER_REJECTED'],
      ['debug', 'call ended', 'request-2', 'PROVIDER_REJECTED'],
      ['info', 'flow ended', 'request-2', 'PROVIDER_REJECTED'],
    ])
    expect(lines()[2]).toMatchObject({ stepId: 'a', iteration: 1, provider: 'scripted', model: 'model-a', attempts: 2 })
    expect(lines()[3]).toMatchObject({ flowType: 'sequential', tokens: 120, unpricedSteps: 1, costUsd: 0, simulated: false })
    expect(text()).not.toContain('canary-')
    expect(text()).not.toContain(USER)
  })

  test('contain no text even before redaction', async () => {
    const { logged, logger } = createKeeper()
    await runWithCanaries(logger, 'debug')
    expect(logged).toHaveLength(8)
    expect(JSON.stringify(logged)).not.toContain('canary-')
  })

  test('omit calls at level info, and are not written at the default level', async () => {
    const atInfo = createKeeper()
    await runWithCanaries(atInfo.logger, 'info')
    expect(atInfo.logged.map(({ message }) => message)).toEqual(['flow started', 'flow ended', 'flow started', 'flow ended'])
    await services?.polyphony.close()
    const byDefault = createKeeper()
    await runWithCanaries(byDefault.logger)
    expect(byDefault.logged).toEqual([])
  })

  test('contain the ids of their own request and flow while others run', async () => {
    const { logger, lines } = createLog()
    const scripted = scriptedProvider('scripted', async ({ messages }) => {
      await new Promise((resolve) => setTimeout(resolve, 1))
      logger.info({ asked: true }, 'a line of the backend inside a flow')
      return counted(messages.length === 0 ? 'nothing' : 'ok')
    })
    services = await openServices({ scripted }, { logger: toLogger(logger), logLevel: 'debug' })
    const { run } = services
    const results = await Promise.all(
      ['first', 'second', 'third'].map(async (requestId) => {
        const { flowId } = await requestContext.run({ requestId }, () => run(chain(modelAStep('a'), modelAStep('b'))))
        return { requestId, flowId }
      }),
    )
    for (const { requestId, flowId } of results) {
      const own = lines().filter((line) => line.requestId === requestId)
      expect(own).toHaveLength(6)
      expect(own.filter((line) => line.flowId !== flowId)).toEqual([])
    }
    expect(lines()).toHaveLength(18)
  })

  test('a logger that throws does not stop a flow', async () => {
    const fail = () => {
      throw new Error('the disk is full')
    }
    const logger = { error: fail, warn: fail, info: fail, debug: fail }
    services = await openServices({ scripted: scriptedProvider('scripted', ['ok']) }, { logger, logLevel: 'debug' })
    await expect(services.run(chain(modelAStep('a')))).resolves.toMatchObject({ status: 'COMPLETED' })
  })
})

test('nested ids are added to the outer ones and end with their work', async () => {
  const { logger, lines } = createLog('info')
  await requestContext.run({ requestId: 'outer' }, async () => {
    await requestContext.run({ flowId: 'flow' }, async () => {
      await Promise.resolve()
      logger.info('inside')
    })
    logger.info('between')
  })
  logger.info('outside')
  expect(lines().map(({ requestId, flowId }) => [requestId, flowId])).toEqual([
    ['outer', 'flow'],
    ['outer', undefined],
    [undefined, undefined],
  ])
})
