import pg, { type Pool } from 'pg'
import type { Broadcast } from '../repository.ts'

const CHANNEL = 'polyphony'
/** A payload must be shorter than 8000 bytes in the default configuration of Postgres. */
const MAX_PAYLOAD_BYTES = 7_900
const NOTIFY_SQL = 'select pg_notify($1, payload) from unnest($2::text[]) payload'

/**
 * LISTEN and NOTIFY on a connection of their own. Notifications are not part of the journal's transactions, because
 * Postgres holds one lock for the whole database from the NOTIFY to the end of the commit, so that all commits with
 * notifications happen one after another.
 */
export const createBroadcast = ({ options }: Pick<Pool, 'options'>): Broadcast => ({
  maxFrameBytes: MAX_PAYLOAD_BYTES,
  async connect({ onFrame, onLost }) {
    const client = new pg.Client({
      ...options,
      password: options.password,
      keepAlive: true,
      application_name: 'polyphony notifications',
    })
    let isClosed = false
    const lose = () => {
      if (isClosed) return
      isClosed = true
      onLost()
    }
    // Without this listener the error of a lost connection would end the process.
    client.on('error', lose)
    client.on('end', lose)
    client.on('notification', ({ payload = '' }) => onFrame(payload))
    const close = async () => {
      isClosed = true
      await client.end()
    }
    try {
      await client.connect()
      await client.query(`listen ${CHANNEL}`)
      // The connection does not keep a program alive that forgot to close its store.
      if ('unref' in client && typeof client.unref === 'function') client.unref()
    } catch (error) {
      void close().catch(() => {})
      throw error
    }
    return {
      async send(frames) {
        await client.query({ name: 'polyphony_notify', text: NOTIFY_SQL, values: [CHANNEL, frames] })
      },
      close,
    }
  },
})
