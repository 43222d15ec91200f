import type { ServerContext } from '@modelcontextprotocol/server'
import type { ToolCall } from './tool.ts'

/** Tells the client how far a call is, where it asked for it. The protocol wants numbers that rise, and a flow may do much between two of its own. */
export function createReport({ _meta, notify }: ServerContext['mcpReq']): ToolCall['report'] {
  const progressToken = _meta?.progressToken
  if (progressToken === undefined) return undefined
  let last: number | undefined
  return (percent, message) => {
    const progress = last === undefined || percent > last ? percent : last + (100 - last) / 200
    if (progress === last) return
    last = progress
    // A client that is gone needs no telling.
    notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100, message } }).catch(() => {})
  }
}
