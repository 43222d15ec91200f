import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { conversationService, dataSharingService, OrchestratorService, orchestratorService } from '../../src/index.ts'

beforeEach(() => {
  vi.stubEnv('DATABASE_URL', 'memory://')
})
afterEach(() => {
  vi.unstubAllEnvs()
})

test('the services of the default instance have exactly the public methods of their classes', () => {
  const methods = Object.getOwnPropertyNames(OrchestratorService.prototype).filter((name) => name !== 'constructor')
  expect(Object.keys(orchestratorService).sort()).toEqual(methods.sort())
  expect(methods).toContain('executeFlow')
  expect(Object.keys(dataSharingService).sort()).toEqual(['get', 'list', 'remove', 'set'])
  expect(Reflect.get(orchestratorService, 'executeFlows')).toBeUndefined()
})

test('a service of the default instance is not a promise: awaiting it returns the service itself', async () => {
  expect(Reflect.get(orchestratorService, 'then')).toBeUndefined()
  expect(await conversationService).toBe(conversationService)
})

test('methods reach the services of one and the same instance', async () => {
  const thread = await conversationService.createThread('ada')
  expect(await orchestratorService.listFlows(thread.id, 'ada')).toEqual([])
  await expect(orchestratorService.getFlow('unknown', 'ada')).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
  expect(await dataSharingService.list('ada')).toEqual([])
})

test('streamFlow of the default instance is an async generator whose errors arrive when it is read', async () => {
  const updates = orchestratorService.streamFlow('unknown', 'ada')
  expect(updates).toHaveProperty('return')
  await expect(updates.next()).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
})
