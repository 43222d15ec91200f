import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { openTestPostgres } from '../support/postgres.ts'
import { casesOf } from '../support/scale.ts'
import { answerWith, createReceiver, SECRET } from '../webhooks/receiver.ts'
import { createCallLog } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet } from './fleet.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

const FLOWS = Number(process.env.CHAOS_WEBHOOKS ?? casesOf(24, 12))
const GUARD_MS = 120_000

afterEach(endWorkers)

test.each(CHAOS_ENGINES.slice(0, casesOf(2, 1)))(
  '$name: the end of each flow is reported, and only messages in flight at a kill are sent again',
  { timeout: 300_000 },
  async ({ configOf }) => {
    const postgres = await openTestPostgres()
    const outcomes = new OutcomeReader(postgres.url)
    const provider = await createCallLog({ answerMs: () => 20 })
    /** From the moment that the workers are killed until new ones run, no message is answered. */
    let isHeld = false
    const receiver = await createReceiver((response) => !isHeld && answerWith(204)(response))
    const database = new pg.Client({ connectionString: postgres.url })
    await database.connect()
    try {
      const config = configOf(postgres.url, provider.url)
      const fleet = new Fleet(
        { ...config, webhooks: [{ url: receiver.url, events: ['flow_complete'], secret: SECRET }] },
        outcomes,
      )
      await fleet.add(2)
      const run = async (count: number) => {
        const flows = await Promise.all(Array.from({ length: count }, () => fleet.run((name) => lineOf(name, 2))))
        const ids = flows.map(({ flowId }) => flowId)
        await outcomes.until(ids, ['COMPLETED'], GUARD_MS)
        return ids
      }
      const messages = () => receiver.received.map(({ id }) => id)

      const first = await run(FLOWS)
      await receiver.arrived(FLOWS)
      expect(messages().map(withoutNumber).sort()).toEqual(first.map(toMessage).sort())

      isHeld = true
      const second = await run(4)
      await receiver.arrived(FLOWS + 4)
      await Promise.all([fleet.replace(0), fleet.replace(1)])
      isHeld = false
      // Their leases end a minute after the kill; the clock of the leases is set forward instead of waiting for it.
      await database.query(`update polyphony_webhook_deliveries set due_at = now() where state = 'queued'`)
      await receiver.arrived(FLOWS + 8)

      const held = messages().slice(FLOWS, FLOWS + 4)
      expect(new Set(held).size).toBe(4)
      expect(
        messages()
          .slice(FLOWS + 4)
          .sort(),
      ).toEqual([...held].sort())
      expect(held.map(withoutNumber).sort()).toEqual(second.map(toMessage).sort())
      await run(1)
      await receiver.arrived(FLOWS + 9)
      expect(receiver.received).toHaveLength(FLOWS + 9)
      for (const index of receiver.received.keys())
        expect(receiver.verify(index, SECRET)).toMatchObject({ type: 'flow_complete' })
    } finally {
      await database.end()
      await Promise.all([provider.close(), outcomes.close(), receiver.close()])
      await endWorkers()
      await postgres.drop()
    }
  },
)

const toMessage = (flowId: string): string => `msg_${flowId.replaceAll('-', '')}`
const withoutNumber = (id: string): string => id.replace(/_\d+$/, '')
