import { createHash, timingSafeEqual } from 'node:crypto'
import type { Caller } from './caller.ts'

/** Tokens that no database holds: they are valid for one process of the server, or for one run of a service. */
export interface ProcessTokens {
  /** The caller of a token; undefined for every other token. */
  find(token: string): Caller | undefined
  /** Whether the token has the form of these, though its process may have ended. Such a token is never ignored. */
  hasForm(token: string): boolean
}

export interface ProcessTokensDeps {
  /** Token of the file that the command line of the operator reads. */
  readonly controlToken?: string
  /** Id of the service with a run that has this token. */
  readonly serviceOfRun: (token: string) => string | undefined
}

/** Tokens of `createControlToken`, and ids of runs, which are random UUIDs. */
const FORM = /^(ctl_.*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i

const LOCAL_USER = 'local'
const CONTROL_CALLER: Caller = { userId: LOCAL_USER, scopes: ['read', 'operate'], via: 'control' }

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest()

export function createProcessTokens({ controlToken, serviceOfRun }: ProcessTokensDeps): ProcessTokens {
  const control = controlToken === undefined ? undefined : hashOf(controlToken)
  return {
    hasForm: (token) => FORM.test(token),
    find(token) {
      // Hashes have one length, and their comparison says nothing about the token.
      if (control && timingSafeEqual(control, hashOf(token))) return CONTROL_CALLER
      const serviceId = serviceOfRun(token)
      return serviceId === undefined ? undefined : { userId: `service:${serviceId}`, scopes: [], via: 'run', serviceId }
    },
  }
}
