import { allPages } from './http/pages.ts'
import { asJson, type CallOptions, type KeyedCallOptions, type Transport } from './http/transport.ts'
import type { EventDelivery, NewEvent, StepAnswer, StepDecision, WaitingListQuery, WaitingPage, WaitingStep } from './wire.ts'

/**
 * Steps that wait for a decision, a time or an event.
 *
 * ```ts
 * import { createInterface } from 'node:readline/promises'
 *
 * const terminal = createInterface({ input: process.stdin, output: process.stdout })
 * for await (const { flowId, path, hash, kind, prompt } of client.waiting.all()) {
 *   if (kind !== 'approve') continue
 *   const answer = await terminal.question(`${prompt} [y/n] `)
 *   await client.waiting.signal(flowId, path, { approved: answer === 'y', hash })
 * }
 * terminal.close()
 * ```
 */
export const createWaits = ({ send }: Transport) => {
  const list = (query: WaitingListQuery = {}, options?: CallOptions): Promise<WaitingPage> =>
    send({ method: 'GET', path: ['waiting'], query }, options, asJson<WaitingPage>)
  return {
    /** One page of the steps that wait in flows which the caller may read, the oldest first. */
    list,
    /** All steps that wait; a page is requested when the loop reaches it. */
    all: (query: WaitingListQuery = {}, options?: CallOptions): AsyncGenerator<WaitingStep, void> =>
      allPages(query, (next) => list(next, options)),
    /**
     * Decides about a step. `path`: as the list and `flow_paused` name it. With the `hash` of the list the decision
     * counts only for what was shown. Rejects with APPROVAL_DECIDED if somebody was faster.
     */
    signal: (flowId: string, path: string, answer: StepAnswer, options?: KeyedCallOptions): Promise<StepDecision> =>
      send(
        { method: 'POST', path: ['flows', flowId, 'steps', path, 'signal'], body: answer, keyed: true },
        options,
        asJson<StepDecision>,
      ),
    /** Sends an event to every step that waits for it now, and resolves with these steps. */
    sendEvent: (event: NewEvent, options?: KeyedCallOptions): Promise<EventDelivery> =>
      send({ method: 'POST', path: ['events'], body: event, keyed: true }, options, asJson<EventDelivery>),
  }
}
