import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { windowAt } from '../../src/domain/users/budget.ts'
import { openStore } from '../../src/repositories/database.ts'

/** A process that holds a reservation of the budget `shared` of user `eve` and sends heartbeats until it is killed. */
const [, , url = ''] = process.argv
const store = await openStore({ url })
const owner = { id: randomUUID(), host: hostname(), pid: process.pid }
await store.owners.heartbeat(owner)
await store.budgets.reserve({
  id: randomUUID(),
  ownerId: owner.id,
  caps: [{ name: 'shared', subject: 'eve', windowStart: windowAt('month', new Date()).start, maxTokens: 200 }],
  costNanoUsd: 0,
  tokens: 190,
  flows: 0,
})
process.stdout.write('reserved\n')
setInterval(() => void store.owners.heartbeat(owner), 1_000)
