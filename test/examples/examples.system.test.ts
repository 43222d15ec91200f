import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  approvalExample,
  codeReviewExample,
  conditionalExample,
  costExample,
  critiqueExample,
  errorsExample,
  examples,
  functionsExample,
  invoiceExample,
  ownProviderExample,
  parallelExample,
  permissionsExample,
  refinementExample,
  researchExample,
  sequentialExample,
  streamingExample,
  supportExample,
} from 'polyphony/orchestrator.examples'
import { expect, test } from 'vitest'
import { createPdf, linesOfPdf } from '../../examples/pdf.ts'
import { DEFAULT_MODELS } from '../../templates/default-models.ts'

const folder = new URL('../../examples/', import.meta.url)

/** Collects the lines that an example prints. */
function listen() {
  const lines: string[] = []
  return { options: { log: (line: string) => lines.push(line) }, lines }
}

test('the sequential example builds each step on the one before, and the thread keeps question and answers', async () => {
  const { options, lines } = listen()
  const { result, messages } = await sequentialExample(options)
  expect(result).toMatchObject({ status: 'COMPLETED', simulated: true, totalCost: 0 })
  expect(result.steps.map(({ stepId, status }) => [stepId, status])).toEqual([
    ['notes', 'SUCCESS'],
    ['outline', 'SUCCESS'],
    ['text', 'SUCCESS'],
  ])
  // The simulator increases the version when the prompt of a step contains an earlier text.
  expect(result.steps.map(({ output }) => /version (\d)/.exec(output ?? '')?.[1])).toEqual(['1', '2', '3'])
  expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'assistant', 'assistant'])
  expect(messages.at(-1)).toMatchObject({ content: result.finalOutput, metadata: { orchestrationFlowId: result.flowId } })
  expect(lines.at(-1)).toContain(result.flowId)
})

test('the parallel example makes three proposals with three providers, and a consensus that names the minority', async () => {
  const { options, lines } = listen()
  const result = await parallelExample(options)
  expect(result.steps.map(({ stepId, provider }) => [stepId, provider])).toEqual([
    ['proposalA', 'openai'],
    ['proposalB', 'anthropic'],
    ['proposalC', 'google'],
    ['consensus', 'anthropic'],
  ])
  expect(result.finalOutput).toContain('## Minority view')
  expect(lines.at(-1)).toBe(result.finalOutput)
})

test('the conditional example runs the one branch that fits each request', async () => {
  const { options } = listen()
  expect(Object.values(await conditionalExample(options))).toEqual(['engineer', 'writer', 'generalist'])
})

test('the critique example names the false sentence of the draft and removes it from the final text', async () => {
  const { options, lines } = listen()
  const result = await critiqueExample(options)
  expect(result.steps.map(({ stepId, provider }) => [stepId, provider])).toEqual([
    ['draft', 'openai'],
    ['critique', 'anthropic'],
    ['refine', 'openai'],
  ])
  const [draft, critique] = result.steps
  const defect = 'takes its colour from the oceans'
  expect(draft?.output).toContain(defect)
  expect(critique?.output).toContain(defect)
  expect(result.finalOutput).not.toContain(defect)
  expect(lines.filter((line) => line.endsWith('starts'))).toHaveLength(3)
})

test('the refinement example ends its loop when the scores reach the threshold', async () => {
  const { options, lines } = listen()
  const { result, scores } = await refinementExample(options)
  expect(scores.length).toBeGreaterThan(1)
  expect(scores.at(-1)).toBeGreaterThanOrEqual(0.9)
  expect(scores.slice(0, -1).every((score) => score !== undefined && score < 0.9)).toBe(true)
  expect(result.stopReason).toBe('threshold')
  expect(lines[0]).toContain('threshold')
})

test('the streaming example receives every update once over a resumed stream, with the same text as the callback', async () => {
  const { options, lines } = listen()
  const { received, text } = await streamingExample(options)
  expect(received.map(({ seq }) => seq)).toEqual(received.map((_, index) => index + 1))
  expect(received.at(-1)?.type).toBe('flow_complete')
  const deltas = received.flatMap((update) => (update.type === 'step_progress' ? [update.data.delta] : []))
  expect(deltas.join('')).toBe(text)
  expect(text.length).toBeGreaterThan(100)
  expect(lines.at(-1)).toContain(`${received.length} updates`)
})

test('the errors example recovers by retry, resume and fallback, and requests nothing twice', async () => {
  const { options } = listen()
  const { code, status, result, requests } = await errorsExample(options)
  expect(code).toBe('STEP_TIMEOUT')
  expect(status).toMatchObject({ status: 'FAILED', completedSteps: 1, failedSteps: ['review'] })
  expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'the report' })
  expect(result.steps[0]?.attempts.map(({ error }) => error?.code)).toEqual(['PROVIDER_RATE_LIMITED', undefined])
  expect(result.steps[2]).toMatchObject({ provider: 'shaky', attempts: [{ provider: 'broken' }, { provider: 'shaky' }] })
  expect(requests).toBe(5)
})

test('the permissions example shares and shows nothing before it is allowed', async () => {
  const { options } = listen()
  const seen = await permissionsExample(options)
  expect(seen.check).toMatchObject({ ok: false, problems: [{ code: 'DATA_SHARING_DENIED', path: 'steps[1]' }] })
  expect(seen.withoutPolicy).toBe('DATA_SHARING_DENIED')
  expect(seen.decisions).toMatchObject([{ piece: 'answer', from: 'openai', to: 'anthropic', allowed: true }])
  expect([seen.stranger, seen.reader, seen.readerDeletes]).toEqual(['FLOW_NOT_FOUND', 'allowed', 'PERMISSION_DENIED'])
})

test('the cost example stays within the estimated range, keeps an unknown price unknown, and holds the limit', async () => {
  const { options } = listen()
  const { cost, result, failure, stepResults } = await costExample(options)
  expect(cost.unpriced).toEqual(['local/free'])
  expect(result.totalCost).toBeCloseTo(0.00824, 6)
  expect(result.totalCost).toBeGreaterThanOrEqual(cost.lowUsd)
  expect(result.totalCost).toBeLessThanOrEqual(cost.highUsd)
  expect(result).toMatchObject({ totalTokens: 1_380, unpricedSteps: 1 })
  expect(result.steps.at(-1)?.cost).toBeUndefined()
  expect(failure).toMatchObject({ code: 'LIMIT_EXCEEDED', details: { max: 0.008, stepId: 'summary' } })
  expect(stepResults[0]).toMatchObject({ stepId: 'facts', status: 'SUCCESS' })
})

test('the provider example cancels and resumes its flow and runs it again from the second step', async () => {
  const { options } = listen()
  const { ended, status, resumed, rerun, again, flows } = await ownProviderExample(options)
  expect(ended).toBe('FLOW_CANCELLED')
  expect(status).toMatchObject({ status: 'CANCELLED', completedSteps: 1, totalSteps: 2, progress: 50 })
  expect(resumed.finalOutput).toBe('one two three')
  expect(rerun.parentFlowId).toBe(resumed.flowId)
  expect(again.finalOutput).toBe('one two three')
  expect(flows.map(({ id }) => id)).toEqual([resumed.flowId, again.flowId])
})

test('the approval example waits for a decision, and goes on with the edited text', async () => {
  const { options, lines } = listen()
  const { waiting, result } = await approvalExample(options)
  expect(waiting).toMatchObject([{ path: 'decision', kind: 'approve', show: result.steps[0]?.output, mayAnswer: true }])
  expect(result.status).toBe('COMPLETED')
  expect(result.steps.map(({ stepId }) => stepId)).toEqual(['draft', 'critique', 'decision', 'publish'])
  expect(result.steps[2]).toMatchObject({
    output: expect.stringContaining('(approved by Ada)'),
    parsed: { approved: true, by: 'ada' },
  })
  expect(lines[0]).toContain('Publish the draft?')
})

test('the functions example computes a price from what a model read, and asks a condition by its name', async () => {
  const { options } = listen()
  const result = await functionsExample(options)
  expect(result.steps.map(({ status }) => status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS'])
  expect(result.steps[1]).toMatchObject({ provider: 'function', parsed: { total: 50 }, cost: 0, costSource: 'free' })
})

test('the research example keeps the sources, numbers each once, and drops the statement that bears no number', async () => {
  const { options, lines } = listen()
  const { result, outputs, sources } = await researchExample(options)
  expect(sources).toEqual(['https://example.com/atlantic-cable', 'https://example.org/cable-inquiry'])
  expect(result.finalOutput).toContain(
    '## Sources\n[1] Atlantic cable: https://example.com/atlantic-cable\n[2] Inquiry into the cable: https://example.org/cable-inquiry',
  )
  expect(outputs.report).toContain('Sharks')
  expect(outputs.check).toContain('"Sharks had bitten it as well.": refused')
  expect(outputs.check).toContain('Refused: 1')
  expect(result.finalOutput).not.toContain('Sharks')
  expect(result.steps.every(({ costSource }) => costSource === 'prices')).toBe(true)
  expect(lines.at(-1)).toContain(`$${result.totalCost.toFixed(5)}`)
})

test('the invoice example books what both vendors read, and asks a person where they differ', async () => {
  const { options, lines } = listen()
  const { clear, misread, wrong, booked } = await invoiceExample(options)
  expect(clear.questions).toEqual([])
  expect(clear.result.steps.find(({ stepId }) => stepId === 'decision')?.status).toBe('SKIPPED')
  expect(misread.questions).toMatchObject([{ path: 'decision', prompt: 'Which values are right? total: 119 or 179.' }])
  expect(booked).toEqual(['A-7', 'B-8'].map((number) => ({ number, net: 100, tax: 19, total: 119 })))
  expect(misread.result.steps.find(({ stepId }) => stepId === 'second')?.parsed).toMatchObject({ number: 'B-8', total: 179 })
  // Both readings agree, but the sum is wrong: a person rejects it, so it is not among the booked ones.
  expect(wrong.questions).toMatchObject([{ prompt: 'Which values are right? The sum is wrong.' }])
  expect(wrong.result.steps.find(({ stepId }) => stepId === 'book')?.status).toBe('SKIPPED')
  expect(lines.filter((line) => line.includes('Which values are right?'))).toHaveLength(2)
})

test('the support example refunds only after the approval of that call, and nothing that is rejected', async () => {
  const { options, lines } = listen()
  const { kettle, piano, refunds } = await supportExample(options)
  expect(kettle.asked).toMatchObject([{ kind: 'tool', prompt: expect.stringContaining('function/refund') }])
  expect(kettle.refundedBefore).toEqual([0])
  expect(refunds).toMatchObject([{ order: 'A-7', amount: 39.9, key: expect.any(String) }])
  expect(kettle.result.steps[0]?.toolCalls).toMatchObject([
    { tool: 'function/lookUpOrder', isError: false },
    { tool: 'function/refund', isError: false, approvedBy: 'ada' },
  ])
  expect(kettle.result.steps[0]?.toolCalls?.[0]?.approvedBy).toBeUndefined()
  expect(piano.asked).toHaveLength(1)
  expect(piano.refundedBefore).toEqual([1])
  expect(piano.result.finalOutput).toContain('could not refund')
  expect(kettle.result.steps[0]).toMatchObject({ turns: 3, costSource: 'prices' })
  expect(lines.filter((line) => /-> (approved|rejected)$/.test(line))).toHaveLength(2)
})

test('the code review example runs the tests on each proposal, and their failures reach the verdict', async () => {
  const { options } = listen()
  const result = await codeReviewExample(options)
  const testsOf = (id: string) => result.steps.find(({ stepId }) => stepId === `${id}Tests`)
  expect(testsOf('first')).toMatchObject({
    provider: 'function',
    parsed: { passed: 2, failed: ['of numbers of several digits'] },
  })
  expect(testsOf('second')?.parsed).toEqual({ passed: 3, failed: [] })
  expect(result.finalOutput).toBe('version 1: fails ["of numbers of several digits"]\nversion 2: merge')
})

test('the PDF of the invoice example has its objects where its table says', () => {
  const pdf = new TextDecoder().decode(createPdf(['Net (of tax) 1.00', 'a \\ b']))
  const [, start = ''] = /startxref\n(\d+)\n%%EOF\n$/.exec(pdf) ?? []
  expect(pdf.slice(Number(start))).toMatch(/^xref\n0 6\n/)
  const offsets = [...pdf.matchAll(/^(\d{10}) 00000 n $/gm)].map(([, offset]) => Number(offset))
  expect(offsets.map((offset) => pdf.slice(offset, offset + 8))).toEqual([1, 2, 3, 4, 5].map((id) => `${id} 0 obj\n`))
  const [, length, content] = /\/Length (\d+) >>\nstream\n([\s\S]*?)\nendstream/.exec(pdf) ?? []
  expect(content).toHaveLength(Number(length))
  expect(linesOfPdf(createPdf(['Net (of tax) 1.00', 'a \\ b']))).toEqual(['Net (of tax) 1.00', 'a \\ b'])
})

test('all sixteen examples are listed under the names of their files', () => {
  const files = readdirSync(folder).filter((file) => /^\d\d-.*\.ts$/.test(file))
  expect(examples.map(({ name }) => `${name}.ts`)).toEqual(files.sort())
  expect(files).toHaveLength(16)
})

test('an example runs when its file is started, and an imported one does not', { timeout: 300_000 }, async () => {
  const start = (file: string) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', '--conditions=source', fileURLToPath(new URL(file, folder))])
  const [started, imported] = await Promise.all([start('10-own-provider.ts'), start('index.ts')])
  expect(started.stdout).toContain('resumed: one two three')
  expect(imported.stdout).toBe('')
})

test('the examples name only models that the templates use', () => {
  const known = Object.entries(DEFAULT_MODELS).flatMap(([provider, tiers]) =>
    Object.values(tiers).map((model) => `${provider}/${model}`),
  )
  const text = readdirSync(folder)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(new URL(file, folder), 'utf8'))
  const named = text.join('\n').match(/\b(openai|anthropic|google)\/[\w.-]+/g) ?? []
  expect(named.length).toBeGreaterThan(5)
  expect([...new Set(named)].filter((model) => !known.includes(model))).toEqual([])
})
