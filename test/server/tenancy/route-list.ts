import type { FastifyInstance, HTTPMethods } from 'fastify'
import { expect } from 'vitest'

export interface ListedRoute {
  readonly method: string
  /** As it was registered: `/api/v1/threads/:threadId`. */
  readonly path: string
  /** `GET /api/v1/threads/:threadId` */
  readonly name: string
}

const INDENT = 4

/** Every method and path that the router knows, read from the router itself. */
export function routesOf(app: FastifyInstance): readonly ListedRoute[] {
  const pieces: string[] = []
  const routes = app
    .printRoutes()
    .split('\n')
    .flatMap((line) => {
      const found = /^([│ ├└─]*)(\S+)(?: \(([A-Z, ]+)\))?$/.exec(line)
      if (!found) return []
      const [, indent = '', piece = '', methods = ''] = found
      const depth = indent.length / INDENT
      // The first level is the root, which stands for nothing.
      pieces.splice(Math.max(0, depth - 2), Number.POSITIVE_INFINITY, depth < 2 ? '' : piece)
      const path = pieces.join('')
      return methods
        .split(', ')
        .filter((method) => method !== '')
        .map((method) => ({ method, path, name: `${method} ${path}` }))
    })
  for (const { method, path, name } of routes) {
    // The router keeps this one under no path at all.
    if (path === '*') continue
    expect(app.hasRoute({ method: method as HTTPMethods, url: path }), `${name} was misread`).toBe(true)
  }
  return routes
}
