import { OrchestratorError } from '../../errors/orchestrator-error.ts'

export interface ConnectionLimiterOptions {
  readonly maxConnections: number
  readonly maxConnectionsPerUser: number
  /** How such a connection is called in an error. */
  readonly name: string
}

/** Room for connections that stay open. */
export interface ConnectionLimiter {
  /** Takes a place and returns what gives it back. Throws RATE_LIMITED where there is none. */
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
        const left = (perUser.get(userId) ?? 1) - 1
        if (left > 0) perUser.set(userId, left)
        else perUser.delete(userId)
      }
    },
  }
}
