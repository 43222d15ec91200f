import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** Starts the fake provider in its own process. */
export async function startProvider() {
  const server = fork(fileURLToPath(new URL('./fake-provider.mjs', import.meta.url)))
  const [{ port }] = await once(server, 'message')
  return { url: `http://127.0.0.1:${port}`, stop: () => server.kill() }
}
