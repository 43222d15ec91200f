import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

interface Pattern {
  readonly path: RegExp
  readonly methods: Set<string>
}

/** Which methods the paths of an app answer. */
export interface AllowedMethods {
  /** Value of the `Allow` header for a path, without its query; `undefined` where nothing answers at this path. */
  find(path: string): string | undefined
}

/** Collects the methods of every route that is registered afterwards. The router finds routes by their method first, and cannot say what it would answer to others. */
export function collectAllowedMethods(app: FastifyInstance): AllowedMethods {
  const patterns = new Map<string, Pattern>()
  app.addHook('onRoute', ({ url, method }: RouteOptions) => {
    // The route of preflights stands under every path.
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

/** `/flows/:flowId` and `/models/*` as expressions for whole paths, with or without a slash at the end. */
function toExpression(url: string): RegExp {
  const source = url
    .replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/:\w+/g, '[^/]+')
    .replaceAll('*', '.*')
  return new RegExp(`^${source.replace(/\/$/, '')}/?$`)
}

/**
 * The error of a request that no route answers: METHOD_NOT_ALLOWED where its path answers other methods only, else ROUTE_NOT_FOUND. A route may
 * give a request of its own method back, such as that of the files at /docs for a file that is not there.
 */
export function noRoute({ method, url }: Pick<FastifyRequest, 'method' | 'url'>, methods: AllowedMethods): OrchestratorError {
  const allow = methods.find(pathOf(url))
  return allow === undefined || allow.split(', ').includes(method)
    ? new OrchestratorError('ROUTE_NOT_FOUND', `Nothing answers ${method} here`)
    : new OrchestratorError('METHOD_NOT_ALLOWED', `${method}: expected one of ${allow}`, { details: { allow } })
}

/** The path alone: what stands behind a question mark may be secret. */
export const pathOf = (url: string): string => url.split('?', 1)[0] ?? '/'
