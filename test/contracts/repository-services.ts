import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { AdvertisedService, ServiceRepository, Store } from '../../src/repositories/repository.ts'

/** What a store promises that tells processes of services that others run. */
export function describeServices(store: () => Pick<Store, 'services' | 'owners'>): void {
  describe('services of other processes', () => {
    const LIVING_MS = 60_000
    /** More than a step of the clock of an embedded database, which counts milliseconds. */
    const TICK_MS = 5
    const newOwner = async (host = 'host-1') => {
      const id = `owner-${randomUUID()}`
      await store().owners.heartbeat({ id, host, pid: 4711 })
      return id
    }
    const newService = (more: Partial<AdvertisedService> = {}): AdvertisedService => ({
      serviceId: `writer-${randomUUID()}`,
      address: 'http://models-1:8000/v1',
      state: 'running',
      ...more,
    })
    const shared = test.extend<{ services: ServiceRepository }>({
      services: async ({ skip }, use) => {
        const { services } = store()
        if (services) await use(services)
        else skip('no other process shares this store')
      },
    })

    shared('a service is found by other processes, and not by the one that runs it', async ({ services }) => {
      const [owner, other] = [await newOwner('models-1'), await newOwner()]
      const service = newService()
      await services.advertise(owner, [service, newService()], LIVING_MS)
      expect(await services.find([service.serviceId, 'unknown'], other, LIVING_MS)).toEqual([
        { ...service, ownerId: owner, host: 'models-1' },
      ])
      expect(await services.find([service.serviceId], owner, LIVING_MS)).toEqual([])
    })

    shared('a confirmation replaces address and state', async ({ services }) => {
      const owner = await newOwner()
      const service = newService({ state: 'starting' })
      await services.advertise(owner, [service], LIVING_MS)
      await services.advertise(owner, [{ ...service, state: 'running', address: 'https://models-2' }], LIVING_MS)
      expect(await services.find([service.serviceId], '', LIVING_MS)).toMatchObject([
        { state: 'running', address: 'https://models-2' },
      ])
    })

    shared('a service that is withdrawn is gone, and so are all of a process', async ({ services }) => {
      const [owner, other] = [await newOwner(), await newOwner()]
      const [first, second, third] = [newService(), newService(), newService()]
      const ids = [first, second, third].map(({ serviceId }) => serviceId)
      await services.advertise(owner, [first, second, third], LIVING_MS)
      await services.advertise(other, [first], LIVING_MS)
      await services.withdraw(owner, [second.serviceId])
      const left = await services.find(ids, '', LIVING_MS)
      expect(left.map(({ serviceId }) => serviceId).sort()).toEqual([first.serviceId, third.serviceId].sort())
      await services.withdraw(owner)
      expect(await services.find(ids, '', LIVING_MS)).toMatchObject([{ ...first, ownerId: other }])
    })

    shared('of several processes the one counts that began last, whichever confirms its row', async ({ services }) => {
      const [early, late] = [await newOwner(), await newOwner()]
      const service = newService()
      await services.advertise(early, [service], LIVING_MS)
      await sleep(TICK_MS)
      await services.advertise(late, [service], LIVING_MS)
      for (const owner of [early, late, early]) {
        await services.advertise(owner, [service], LIVING_MS)
        expect(await services.find([service.serviceId], '', LIVING_MS)).toMatchObject([{ ownerId: late }])
      }
    })

    shared('one that answers counts before one that does not', async ({ services }) => {
      const [early, late] = [await newOwner(), await newOwner()]
      const service = newService({ state: 'degraded' })
      await services.advertise(early, [service], LIVING_MS)
      await services.advertise(late, [{ ...service, state: 'backoff' }], LIVING_MS)
      expect(await services.find([service.serviceId], '', LIVING_MS)).toMatchObject([{ ownerId: early, state: 'degraded' }])
    })

    shared('a row that is not confirmed is gone, is removed by others, and begins anew', async ({ services }) => {
      const [frozen, other] = [await newOwner(), await newOwner()]
      const service = newService()
      await services.advertise(frozen, [service], LIVING_MS)
      await sleep(TICK_MS)
      expect(await services.find([service.serviceId], '', 1)).toEqual([])
      expect(await services.find([service.serviceId], '', LIVING_MS)).toHaveLength(1)
      await services.advertise(other, [newService()], 1)
      expect(await services.find([service.serviceId], '', LIVING_MS)).toEqual([])
      await services.advertise(other, [service], LIVING_MS)
      await sleep(TICK_MS)
      await services.advertise(frozen, [service], LIVING_MS)
      expect(await services.find([service.serviceId], '', LIVING_MS)).toMatchObject([{ ownerId: frozen }])
    })

    shared('the rows of a process that is known to be dead do not count', async ({ services }) => {
      const dead = await newOwner()
      const service = newService()
      await services.advertise(dead, [service], LIVING_MS)
      await store().owners.interruptOrphanedFlows({ staleMs: LIVING_MS, isDead: ({ id }) => id === dead })
      expect(await services.find([service.serviceId], '', LIVING_MS)).toEqual([])
    })
  })
}
