import { createServer, type Server } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createPortAllocator, findPortOwner, isPortFree } from '../../src/system/ports.ts'

const servers: Server[] = []
const listen = async (host: string): Promise<number> => {
  const server = createServer()
  servers.push(server)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, resolve)
  })
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
})

test('a port is taken while a program listens on it, on one address or on all', async () => {
  for (const host of ['127.0.0.1', '0.0.0.0']) {
    const port = await listen(host)
    expect(await isPortFree(port)).toBe(false)
    await new Promise((resolve) => servers.pop()?.close(resolve))
    expect(await isPortFree(port)).toBe(true)
  }
})

test.runIf(process.platform === 'linux')('the owner of a port is the process that listens on it', async () => {
  const port = await listen('127.0.0.1')
  expect(findPortOwner(port)).toBe(process.pid)
  await new Promise((resolve) => servers.pop()?.close(resolve))
  expect(findPortOwner(port)).toBeUndefined()
})

test('callers at the same time get different ports, and a released one may be given again', async () => {
  const ports = createPortAllocator()
  const first = await Promise.all(Array.from({ length: 20 }, () => ports.allocate()))
  expect(new Set(first).size).toBe(20)
  for (const port of first) expect(await isPortFree(port)).toBe(true)
  first.forEach(ports.release)
  expect(await ports.allocate()).toBeGreaterThan(0)
})
