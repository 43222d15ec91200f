import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { Scope } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Caller } from '../access/caller.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined on public routes. */
    caller: Caller | undefined
  }
  interface FastifyContextConfig {
    /** Scope that the caller's key must have. Every route must set `scope` or `public`. */
    scope?: Scope
    /** Whether a process under supervision may use the route for its own service; the handler must check the id. */
    ownService?: boolean
    /** Whether the route needs no key. */
    public?: boolean
    /** Whether the route is a page for people, which links on other sites may lead to. */
    page?: boolean
    /**
     * Whether responses are stored under the Idempotency-Key; a function of the body when it depends on the request.
     */
    idempotent?: boolean | ((body: unknown) => boolean)
  }
}

/**
 * Plugin that registers the routes of one resource. A route is defined in one place: path, schema, operation id,
 * scope.
 */
export type Routes = FastifyPluginAsyncZod

/** The caller of the request. Every route that is not public has one. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller) return request.caller
  throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated')
}

/** Path prefix of the HTTP API. */
export const API = '/api/v1'
