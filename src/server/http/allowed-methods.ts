import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

interface Pattern {
  readonly path: RegExp
  readonly methods: Set<string>
}

/** The methods that each path of an app supports. */
export interface AllowedMethods {
  /** Value of the `Allow` header for a path without its query; undefined when no route has this path. */
  find(path: string): string | undefined
}

/**
 * Collects the methods of every route that is registered afterwards. The router finds routes by method first, so it
 * cannot list the methods of a path.
 */
export function collectAllowedMethods(app: FastifyInstance): AllowedMethods {
  const patterns = new Map<string, Pattern>()
  app.addHook('onRoute', ({ url, method }: RouteOptions) => {
    // The route for preflights matches every path.
    if (url === '*') return
    const pattern = patterns.get(url) ?? { path: toExpression(url), methods: new Set(['OPTIONS']) }
    patterns.set(url, pattern)
    for (const name of [method].flat()) pattern.methods.add(name)
  })
  return {
    find(path) {
      const methods = [...patterns.values()].flatMap((pattern) => (pattern.path.test(path) ? [...pattern.methods] : []))
      return methods.length === 0 ? undefined : [...new Set(methods)].sort().join(', ')
    },
  }
}

/**
 * A pattern such as `/flows/:flowId` or `/models/*` as an expression for whole paths, with or without a slash at the
 * end.
 */
function toExpression(url: string): RegExp {
  const source = url
    .replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/:\w+/g, '[^/]+')
    .replaceAll('*', '.*')
  return new RegExp(`^${source.replace(/\/$/, '')}/?$`)
}

/**
 * The error for a request without a route: METHOD_NOT_ALLOWED when its path supports other methods, else
 * ROUTE_NOT_FOUND. The plugin that serves /docs calls this for a file that does not exist, although its route supports
 * the method.
 */
export function noRoute({ method, url }: Pick<FastifyRequest, 'method' | 'url'>, methods: AllowedMethods): OrchestratorError {
  const allow = methods.find(pathOf(url))
  return allow === undefined || allow.split(', ').includes(method)
    ? new OrchestratorError('ROUTE_NOT_FOUND', `No route for ${method}`)
    : new OrchestratorError('METHOD_NOT_ALLOWED', `${method}: expected one of ${allow}`, { details: { allow } })
}

/** The path without its query, which may contain secrets. */
export const pathOf = (url: string): string => url.split('?', 1)[0] ?? '/'
