import { createPolyphony } from 'polyphony'
import { mountPolyphony } from 'polyphony/server'

async function open() {
  const polyphony = await createPolyphony()
  return mountPolyphony(polyphony, { prefix: '/polyphony', auth: 'keys' })
}

declare global {
  var mountedPolyphony: ReturnType<typeof open> | undefined
}

/** Next loads a module once for each bundle of the server; all of them find the same Polyphony here. */
export const mounted = (): ReturnType<typeof open> => {
  globalThis.mountedPolyphony ??= open()
  return globalThis.mountedPolyphony
}
