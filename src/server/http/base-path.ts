import type { FastifyInstance } from 'fastify'

/** Puts the path that clients see before the addresses of this server that its answers name. */
export function addBasePath(app: FastifyInstance, basePath: string): void {
  app.addHook('onSend', async (_, reply, payload) => {
    const location = reply.getHeader('location')
    if (typeof location === 'string' && /^\/(?!\/)/.test(location)) reply.header('location', basePath + location)
    return payload
  })
}
