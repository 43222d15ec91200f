import type { ServerResponse } from 'node:http'
import { createLoopback } from '../support/loopback.ts'

/** One request that arrived at the provider. */
export interface LoggedCall {
  readonly run: string
  readonly step: string
  /** Body of the request. */
  readonly text: string
  /** Milliseconds of this process, as all instants here. */
  readonly arrivedAtMs: number
  /** When the last byte of the answer was sent. */
  answeredAtMs?: number
  /** When the caller closed the connection before the answer was complete. */
  closedAtMs?: number
}

/** A moment of a call: its request has arrived, half of its answer was sent, its answer is complete. */
export const CALL_MOMENTS = ['requested', 'half answered', 'answered'] as const
export type CallMoment = (typeof CALL_MOMENTS)[number]

export interface CallLogOptions {
  /** Whether calls are recorded; default `true`. */
  readonly keepsCalls?: boolean
  /** Milliseconds that the answer to a call takes; called after its moment `requested`. */
  readonly answerMs: (call: LoggedCall) => number
  /** Called at each moment of each call; `number` counts the calls of all runs from 1. */
  readonly onMoment?: (moment: CallMoment, call: LoggedCall, number: number) => void
}

export interface CallLog {
  /** Base URL of an OpenAI-compatible provider. */
  readonly url: string
  readonly calls: readonly LoggedCall[]
  callsOf(run: string, step: string): readonly LoggedCall[]
  /** Resolves when the call is answered or its connection is closed. */
  settled(call: LoggedCall): Promise<void>
  close(): Promise<void>
}

/** The system prompt by which a step names itself and its run to the provider. */
export const stepMark = (run: string, step: string): string => `RUN(${run})STEP(${step})`

/** The text that the provider answers to a step, so that a wrong result is recognised. */
export const answerOf = (run: string, step: string): string => `answer of ${step} in ${run}`

/** A provider that records every call and streams its answer in four pieces. */
export async function createCallLog({ answerMs, onMoment, keepsCalls = true }: CallLogOptions): Promise<CallLog> {
  const calls: LoggedCall[] = []
  const ends = new Map<LoggedCall, Promise<void>>()
  const server = await createLoopback(({ text, response, closed }) => {
    const [, run = '', step = ''] = /RUN\(([^)]*)\)STEP\(([^)]*)\)/.exec(text) ?? []
    const call: LoggedCall = { run, step, text, arrivedAtMs: performance.now() }
    const number = keepsCalls ? calls.push(call) : 0
    if (keepsCalls) ends.set(call, closed)
    response.once('close', () => {
      if (call.answeredAtMs === undefined) call.closedAtMs = performance.now()
    })
    onMoment?.('requested', call, number)
    const pieceMs = answerMs(call) / 4
    const pieces = piecesOf(answerOf(run, step))
    const sendNext = (index: number) => {
      if (response.destroyed) return
      const piece = pieces[index]
      if (piece === undefined) return finish(response, text.length, call, () => onMoment?.('answered', call, number))
      response.write(chunk({ content: piece }))
      if (index === 1) onMoment?.('half answered', call, number)
      setTimeout(sendNext, pieceMs, index + 1)
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(chunk({ role: 'assistant', content: '' }))
    setTimeout(sendNext, pieceMs, 0)
  })
  return {
    url: `${server.url}/v1`,
    calls,
    callsOf: (run, step) => calls.filter((call) => call.run === run && call.step === step),
    settled: (call) => ends.get(call) ?? Promise.resolve(),
    close: server.close,
  }
}

function piecesOf(text: string): readonly string[] {
  const length = Math.ceil(text.length / 4)
  return Array.from({ length: 4 }, (_, index) => text.slice(index * length, (index + 1) * length))
}

const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`
const chunk = (delta: unknown, finishReason: string | null = null): string =>
  event({ id: 'c', object: 'chat.completion.chunk', model: 'm', choices: [{ index: 0, delta, finish_reason: finishReason }] })

function finish(response: ServerResponse, characters: number, call: LoggedCall, onSent: () => void): void {
  const usage = { prompt_tokens: Math.ceil(characters / 4), completion_tokens: 8, total_tokens: Math.ceil(characters / 4) + 8 }
  response.write(chunk({}, 'stop'))
  response.end(`${event({ id: 'c', object: 'chat.completion.chunk', model: 'm', choices: [], usage })}data: [DONE]\n\n`, () => {
    call.answeredAtMs = performance.now()
    onSent()
  })
}
