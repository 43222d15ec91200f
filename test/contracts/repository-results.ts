import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { CallIntent } from '../../src/domain/execution/call-intent.ts'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import {
  attempt,
  failedAttempt,
  failedResult,
  instant,
  newClaim,
  newMessage,
  outcome,
  stepResult,
  update,
  wellFormed,
} from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of the results of steps. */
export function describeResults({ store, thread, claimed, runningFlow }: StoreFixture): void {
  describe('results', () => {
    const roundTrip = async (build: (flowId: string) => StepResult) => {
      const { flowId, epoch } = await runningFlow()
      const given = build(flowId)
      await store().journal.append({ flowId, epoch, results: [given] })
      const [read] = await store().flows.stepResults(flowId, { samples: true })
      return { given, read }
    }

    test('an intent is kept until a result of its step, iteration and sample is written', async () => {
      const { flowId, epoch } = await runningFlow()
      const intent = (path: string, number: number, sample = 0): CallIntent => ({
        path,
        iteration: 1,
        sample,
        number,
        idempotencyKey: `${path}/${number}`,
        provider: 'openai',
        model: 'gpt-5.4',
        startedAt: instant(1),
        inputTokens: 10,
        outputTokens: 20,
        cost: 0.1 + 0.2,
        simulated: false,
      })
      const { journal, flows } = store()
      await Promise.all([
        journal.append({ flowId, epoch, intents: [intent('draft', 1), intent('judge', 1), intent('judge', 1, 2)] }),
        journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')], intents: [intent('next', 1)] }),
      ])
      expect(await flows.intents(flowId)).toEqual([intent('judge', 1), intent('judge', 1, 2), intent('next', 1)])
      await journal.append({ flowId, epoch, results: [failedResult(flowId, 'judge')], intents: [intent('judge', 2)] })
      const left = [intent('judge', 1, 2), intent('judge', 2), intent('next', 1)]
      expect(new Set(await flows.intents(flowId))).toEqual(new Set(left))
      await expect(journal.append({ flowId, epoch: epoch + 1, intents: [intent('late', 1)] })).rejects.toMatchObject({
        code: 'FLOW_INTERRUPTED',
      })
      expect(await flows.intents(flowId)).toHaveLength(3)
    })

    test('results are read back exactly, with attempts, decisions, notes and dates', async () => {
      const { given, read } = await roundTrip((flowId) =>
        stepResult(flowId, 'draft', {
          iteration: 3,
          action: 'critique',
          output: 'Größe 😀 \u2028 "quoted" \\ back\r\n',
          parsed: { score: 0.8, issues: ['a', { b: null }] },
          refusal: 'no',
          reasoning: 'First the pumps \u2028 then 😀',
          sources: [
            { kind: 'citation', url: 'https://example.org/a?b=1#c', title: 'Größe', startIndex: 0, endIndex: 4 },
            { kind: 'search_result', text: 'quoted "text"' },
          ],
          finishReason: 'length',
          attempts: [
            failedAttempt(1),
            attempt(2, { provider: 'anthropic', possiblyDoubleBilled: true, aborted: true, cost: 0.1 + 0.2 }),
            attempt(3, {
              usage: { outputTokens: 7, reasoningTokens: 3, source: 'estimated' },
              costSource: 'provider',
              pricesDate: '2026-01-01',
            }),
            attempt(4, { cost: 0, costSource: 'cache', cached: true }),
          ],
          origins: [{ kind: 'original_prompt' }, { kind: 'step_output', from: 'openai' }],
          sharing: [
            { kind: 'step_output', piece: 'draft', from: 'openai', to: 'anthropic', allowed: false, rule: 'no_policy' },
            { kind: 'original_prompt', piece: 'original', to: 'anthropic', allowed: true, rule: 'original_prompt' },
          ],
          notes: ['temperature left out', 'ünïcode'],
          messageId: randomUUID(),
        }),
      )
      expect(read).toEqual(given)
      expect(read?.startedAt).toBeInstanceOf(Date)
      expect(read?.attempts[0]?.startedAt).toBeInstanceOf(Date)
    })

    test('a result without output, usage and cost has them undefined', async () => {
      const { given, read } = await roundTrip((flowId) => failedResult(flowId, 'draft'))
      expect(read).toEqual(given)
      expect([read?.output, read?.usage, read?.cost, read?.parsed, read?.samples, read?.attempts[0]?.usage]).toEqual(
        Array(6).fill(undefined),
      )
    })

    test('the result of a step without calls has no attempts', async () => {
      const { given, read } = await roundTrip((flowId) => {
        const { output: _output, finishReason: _reason, ...result } = stepResult(flowId, 'draft', { attempts: [] })
        return { ...result, status: 'SKIPPED', notes: ['condition is false'] }
      })
      expect(read).toEqual(given)
    })

    test('an unknown price and unknown usage stay unknown', async () => {
      const { cost: _cost, costSource: _source, pricesDate: _date, ...unpriced } = attempt(1, { usage: { source: 'unknown' } })
      const { given, read } = await roundTrip((flowId) => stepResult(flowId, 'draft', { attempts: [unpriced] }))
      expect(read).toEqual(given)
      expect(read?.cost).toBeUndefined()
    })

    test('a cost of zero, an empty output and simulated attempts are kept', async () => {
      const { given, read } = await roundTrip((flowId) =>
        stepResult(flowId, 'draft', { output: '', simulated: true, attempts: [attempt(1, { cost: 0, simulated: true })] }),
      )
      expect(read).toEqual(given)
      expect([read?.cost, read?.output]).toEqual([0, ''])
    })

    test.each([null, false, 0, '', [], {}, 'text', 1.5, [null], { a: { b: [0, false, null, 'ü'] } }])(
      'the parsed value %j is kept',
      async (parsed) => {
        const { read } = await roundTrip((flowId) => stepResult(flowId, 'draft', { parsed }))
        expect(read?.parsed).toStrictEqual(parsed)
      },
    )

    test('texts keep a leading U+FEFF', async () => {
      const text = '\ufeffid;name'
      const { flowId, epoch } = await runningFlow({ name: text, description: '\ufeff' }, { input: `\ufeff${text}` })
      const result = stepResult(flowId, 'draft', { output: text, parsed: text, samples: [text, '\ufeff'] })
      await store().journal.append({ flowId, epoch, results: [result], updates: [update(1, { data: { delta: text } })] })
      const [read] = await store().flows.stepResults(flowId)
      expect([read?.output, read?.parsed, read?.samples]).toEqual([text, text, [text, '\ufeff']])
      expect(await store().flows.find(flowId)).toMatchObject({ name: text, description: '\ufeff', input: `\ufeff${text}` })
      expect(await store().updates.read(flowId, 0, 10)).toMatchObject([{ data: { delta: text } }])
      const { id: threadId } = await thread()
      await store().threads.addMessage(newMessage(threadId, { content: text }))
      expect(await store().threads.messages(threadId)).toMatchObject([{ content: text }])
    })

    test('NUL and lone surrogates are stored anywhere, verbatim or as U+FFFD', async () => {
      const hostile = 'a\0b\ud800c\udc00d😀\uffff'
      const { flowId, epoch } = await runningFlow({ name: hostile, metadata: { [hostile]: hostile } }, { input: hostile })
      const error = { code: 'STEP_FAILED', message: hostile, retryable: false, details: { cause: hostile } } as const
      const result = stepResult(flowId, 'draft', {
        output: hostile,
        parsed: { [hostile]: [hostile] },
        notes: [hostile],
        samples: [hostile],
        attempts: [{ ...failedAttempt(1), error }],
      })
      await store().journal.finish({
        flowId,
        epoch,
        results: [result],
        updates: [update(1, { data: { delta: hostile } })],
        outcome: outcome({ status: 'FAILED', error }),
      })
      const clean = wellFormed(hostile)
      const [read] = await store().flows.stepResults(flowId)
      expect(wellFormed(read?.output ?? '')).toBe(clean)
      expect(read?.attempts).toHaveLength(1)
      const flow = await store().flows.find(flowId)
      expect([flow?.name, flow?.input, flow?.error?.message].map((text) => wellFormed(text ?? ''))).toEqual([clean, clean, clean])
      expect(await store().updates.lastSeq(flowId)).toBe(1)
    })

    test('an output of 2 MB is read back whole', async () => {
      const output = 'ä😀"\\\n'.repeat(300_000)
      const { read } = await roundTrip((flowId) => stepResult(flowId, 'draft', { output }))
      expect(read?.output === output).toBe(true)
    })

    test('results keep the order of their calls, also when the calls do not wait for each other', async () => {
      const { flowId, epoch } = await runningFlow()
      const stepIds = Array.from({ length: 40 }, (_, index) => `step${(index * 7) % 40}`)
      await Promise.all(stepIds.map((stepId) => store().journal.append({ flowId, epoch, results: [stepResult(flowId, stepId)] })))
      expect((await store().flows.stepResults(flowId)).map(({ stepId }) => stepId)).toEqual(stepIds)
    })

    test('results of single samples are read only on request', async () => {
      const { flowId, epoch } = await runningFlow()
      const joined = stepResult(flowId, 'draft', { samples: ['one', 'two'] })
      await store().journal.append({
        flowId,
        epoch,
        results: [
          stepResult(flowId, 'draft', { sample: 1, output: 'one' }),
          stepResult(flowId, 'draft', { sample: 2, output: 'two' }),
          joined,
        ],
      })
      expect(await store().flows.stepResults(flowId)).toEqual([joined])
      expect((await store().flows.stepResults(flowId, { samples: true })).map(({ sample }) => sample)).toEqual([1, 2, 0])
    })

    test('one step has a result for each iteration', async () => {
      const { flowId, epoch } = await runningFlow()
      const results = [1, 2, 3].map((iteration) => stepResult(flowId, 'draft', { iteration, output: `v${iteration}` }))
      for (const result of results) await store().journal.append({ flowId, epoch, results: [result] })
      expect(await store().flows.stepResults(flowId)).toEqual(results)
    })

    test('a result with SUCCESS is never replaced', async () => {
      const { flowId, epoch } = await runningFlow()
      const first = stepResult(flowId, 'draft', { output: 'first' })
      await store().journal.append({ flowId, epoch, results: [first] })
      await store().journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft', { output: 'second' })] })
      await store().journal.append({ flowId, epoch, results: [failedResult(flowId, 'draft')] })
      const [read, ...rest] = await store().flows.stepResults(flowId)
      expect([read?.status, read?.output, rest]).toEqual(['SUCCESS', 'first', []])
    })

    test.each(['FAILED', 'SKIPPED', 'CANCELLED'] as const)(
      'a result with %s is replaced by that of a later run',
      async (status) => {
        const { flowId, epoch } = await runningFlow()
        await store().journal.finish({
          flowId,
          epoch,
          results: [{ ...failedResult(flowId, 'draft'), status }],
          outcome: outcome({ status: 'FAILED' }),
        })
        const nextEpoch = await claimed(newClaim(flowId))
        const later = stepResult(flowId, 'draft', { attempts: [failedAttempt(1), attempt(2)] })
        await store().journal.append({ flowId, epoch: nextEpoch, results: [later] })
        expect(await store().flows.stepResults(flowId)).toEqual([later])
      },
    )

    test.each([
      ['only its own attempts', (flowId: string) => stepResult(flowId, 'draft', { attempts: [attempt(3)] })],
      [
        'all attempts so far',
        (flowId: string) =>
          stepResult(flowId, 'draft', { attempts: [failedAttempt(1), attempt(2, { aborted: true }), attempt(3)] }),
      ],
    ])('keep the attempts of earlier runs when a later result names %s', async (_title, later) => {
      const { flowId, epoch } = await runningFlow()
      const paid = [failedAttempt(1), attempt(2, { aborted: true })]
      await store().journal.finish({
        flowId,
        epoch,
        results: [failedResult(flowId, 'draft', { attempts: paid })],
        outcome: outcome({ status: 'FAILED' }),
      })
      const nextEpoch = await claimed(newClaim(flowId))
      await store().journal.append({ flowId, epoch: nextEpoch, results: [later(flowId)] })
      const [read] = await store().flows.stepResults(flowId)
      expect(read?.status).toBe('SUCCESS')
      expect(read?.attempts).toEqual([...paid, attempt(3)])
    })
  })
}
