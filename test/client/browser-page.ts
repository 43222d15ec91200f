import { createClient, type FlowUpdate, PolyphonyError } from '../../src/client/client.ts'

/** Results of the program of a page. */
export interface Seen {
  /** Sequence numbers of the received updates: from the beginning, after the third, over a WebSocket. */
  readonly loops: readonly (readonly number[])[]
  readonly status: string
  /** Error codes for an unknown flow, a wrong key, and an address without a server. */
  readonly codes: readonly string[]
}

async function numbersOf(updates: AsyncIterable<FlowUpdate>): Promise<readonly number[]> {
  const numbers: number[] = []
  for await (const { seq } of updates) numbers.push(seq)
  return numbers
}

/** The program of a page: it runs a flow and receives its updates in every possible way. */
async function runPage(baseUrl: string, token: string): Promise<Seen> {
  const client = createClient({ baseUrl, token: () => token })
  await client.dataSharing.set('anthropic', { allowCrossProviderContext: true })
  const { id: threadId } = await client.threads.create()
  const flow = await client.flows.create({ threadId, template: 'critique' })
  const socket = client.socket()
  await socket.execute(flow.id, { input: 'Why is the sky blue?' })
  const loops = await Promise.all([
    numbersOf(client.flows.follow(flow.id)),
    numbersOf(client.flows.follow(flow.id, { afterSeq: 3 })),
    numbersOf(socket.follow(flow.id)),
  ])
  socket.close()
  const { status } = await client.flows.get(flow.id)
  const outcomes = await Promise.allSettled([
    client.flows.get('nobody'),
    createClient({ baseUrl, token: 'pk_1_wrong' }).me.get(),
    createClient({ baseUrl: '/' }).me.get(),
  ])
  const codes = outcomes.map((outcome) =>
    outcome.status === 'rejected' && PolyphonyError.is(outcome.reason) ? outcome.reason.code : 'none',
  )
  return { loops, status, codes }
}

Reflect.set(globalThis, 'runPage', runPage)
