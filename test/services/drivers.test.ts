import { createInProcessDriver } from '../../src/services/drivers/in-process.ts'
import { createRemoteDriver } from '../../src/services/drivers/remote.ts'
import { createAddressRule } from '../../src/services/network/address-rule.ts'
import { describeServiceDriver } from '../contracts/service-driver.ts'

const context = { publish: () => undefined, call: async () => ({}) }

// No code of this process ends by itself: only its supervisor ends it.
describeServiceDriver('in this process', async () => ({
  driver: createInProcessDriver(() => undefined),
  service: { id: 'one', handlers: { start: async () => undefined, stop: async () => undefined }, context },
  neighbour: { id: 'two', handlers: {}, context },
  failing: {
    service: { id: 'bad', handlers: { start: () => Promise.reject(new Error('no')) }, context },
    code: 'SERVICE_START_FAILED',
  },
  stubborn: { id: 'stubborn', handlers: { stop: () => new Promise(() => undefined) }, context },
  close: async () => undefined,
}))

// A remote service ends neither by itself nor by force: the driver only ends its use.
describeServiceDriver('elsewhere', async () => ({
  driver: createRemoteDriver(createAddressRule({ origins: [] })),
  service: { id: 'one', addresses: ['http://127.0.0.1:1/'] },
  neighbour: { id: 'two', addresses: ['http://localhost:1/'] },
  failing: { service: { id: 'bad', addresses: ['http://169.254.169.254/'] }, code: 'SERVICE_ADDRESS_REFUSED' },
  close: async () => undefined,
}))
