import { OrchestratorError } from '../../errors/orchestrator-error.ts'

export interface ConnectionLimiterOptions {
  readonly maxConnections: number
  readonly maxConnectionsPerUser: number
  /** Name of the connections in the error, in the plural: `WebSockets`. */
  readonly name: string
}

/** Limits connections that stay open, per user and in total. */
export interface ConnectionLimiter {
  /** Counts one connection and returns the function that releases it. Throws RATE_LIMITED when a limit is reached. */
  acquire(userId: string): () => void
}

export function createConnectionLimiter({
  maxConnections,
  maxConnectionsPerUser,
  name,
}: ConnectionLimiterOptions): ConnectionLimiter {
  const perUser = new Map<string, number>()
  let taken = 0
  return {
    acquire(userId) {
      if (taken >= maxConnections) throw new OrchestratorError('RATE_LIMITED', `Too many ${name} are open`)
      const ofUser = perUser.get(userId) ?? 0
      if (ofUser >= maxConnectionsPerUser) throw new OrchestratorError('RATE_LIMITED', `Too many ${name} of this user are open`)
      taken++
      perUser.set(userId, ofUser + 1)
      let isHeld = true
      return () => {
        if (!isHeld) return
        isHeld = false
        taken--
        const remaining = (perUser.get(userId) ?? 1) - 1
        if (remaining > 0) perUser.set(userId, remaining)
        else perUser.delete(userId)
      }
    },
  }
}
