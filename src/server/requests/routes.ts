import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { Scope } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Caller } from '../access/caller.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Absent on routes that are open to everybody. */
    caller: Caller | undefined
  }
  interface FastifyContextConfig {
    /** What the caller's key must allow; every route says it or that it is `public`. */
    scope?: Scope
    /** Open to everybody, without a caller. */
    public?: boolean
    /** A page for people: links on other sites may lead to it. */
    page?: boolean
    /** Answers are remembered under the Idempotency-Key; a function of the body where not all can be. */
    idempotent?: boolean | ((body: unknown) => boolean)
  }
}

/** The routes of one resource. */
export type Routes = FastifyPluginAsyncZod

/** Who sent the request; every route that is not public has one. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller) return request.caller
  throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated')
}

/** Where the routes of this version stand. */
export const API = '/api/v1'
