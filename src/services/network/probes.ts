import { connect } from 'node:net'
import type { InProcessService } from '../service.ts'
import type { AddressRule } from './address-rule.ts'
import type { PinnedRequest } from './pinned-request.ts'

/** What one probe found. `detail` never contains text that the service sent. */
export interface ProbeVerdict {
  readonly ok: boolean
  readonly detail: string
}

/** Asks once for the health of a service; errors mean unhealthy. */
export type Probe = (signal: AbortSignal) => Promise<ProbeVerdict>

const MAX_PROBE_BYTES = 65_536

/** Healthy is a 2xx answer; a redirect is one answer like any other and counts as unhealthy. */
export const createHttpProbe =
  (url: string, request: PinnedRequest): Probe =>
  async (signal) => {
    const { status } = await request(url, { signal, maxBytes: MAX_PROBE_BYTES })
    return { ok: status >= 200 && status < 300, detail: `HTTP ${status}` }
  }

/** Healthy is a connection that is accepted. */
export const createTcpProbe =
  (address: string, rule: AddressRule): Probe =>
  (signal) => {
    const split = address.lastIndexOf(':')
    const host = address.slice(0, split).replace(/^\[(.*)\]$/, '$1')
    const port = Number(address.slice(split + 1))
    return new Promise((resolve, reject) => {
      rule.checkHost(host)
      const socket = connect({ host, port, lookup: rule.lookup, signal })
      socket.once('connect', () => {
        socket.destroy()
        resolve({ ok: true, detail: 'accepts connections' })
      })
      socket.once('error', reject)
    })
  }

/** Asks the handler of a service of this process. */
export const createHandlerProbe =
  (health: NonNullable<InProcessService['health']>): Probe =>
  async (signal) => {
    const answer = await health(signal)
    return answer === false ? { ok: false, detail: 'the handler answered false' } : { ok: true, detail: 'the handler answered' }
  }
