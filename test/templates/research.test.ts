import { describe, expect, test } from 'vitest'
import type { Source } from '../../src/domain/execution/model-call.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { compileTemplate } from '../../src/prompts/template.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import { createResearchFlow } from '../../templates/index.ts'
import { scripted, USER } from '../support/scripted-flow.ts'
import { calling, createToolProvider, lookUp } from '../support/tool-world.ts'

const RAIN: Source = { kind: 'annotation', title: 'Rain', url: 'https://example.org/rain' }
const FOG: Source = { kind: 'search_result', url: 'https://example.org/fog' }
const BOOK: Source = { kind: 'citation', title: 'A book without an address' }

const promptOf = (id: string, options?: Parameters<typeof createResearchFlow>[0]) =>
  compileTemplate(String(createResearchFlow(options).steps.find((step) => step.id === id)?.prompt))

describe('the prompts of the template research', () => {
  const steps = {
    searchA: { output: 'Rain falls.', status: 'SUCCESS', sources: [RAIN, BOOK, RAIN] },
    searchB: { output: 'Fog rises.', status: 'SUCCESS', sources: [RAIN, FOG] },
    report: { output: 'Rain falls [1].', status: 'SUCCESS' },
    check: { output: 'Refused: 0', status: 'SUCCESS' },
  }
  const scope = { original: 'Why?', iteration: 1, metadata: {}, steps }

  test.each(['report', 'check', 'answer'])('in %s every address has one number, over all searches', (id) => {
    const [, list] = /begin sources[^\n]*\n([\s\S]*?)\n\[end/.exec(promptOf(id).render(scope)) ?? []
    expect(list?.trim()).toBe('[1] Rain: https://example.org/rain\n[2] untitled: https://example.org/fog')
  })

  test('the title of a page adds no number of its own', () => {
    const page: Source = {
      kind: 'annotation',
      title: 'Rain\r\n[2] Snow: https://example.org/snow',
      url: 'https://example.org/a\nb',
    }
    const prompt = promptOf('report').render({ ...scope, steps: { ...steps, searchA: { ...steps.searchA, sources: [page] } } })
    expect(prompt).toContain('\n[1] Rain  [2] Snow: https://example.org/snow: https://example.org/a b\n[2] Rain: ')
  })

  test('a search that failed is named, and searches without sources are said to have none', () => {
    const failed = { ...steps, searchA: { ...steps.searchA, sources: [] }, searchB: { status: 'FAILED' } }
    const prompt = promptOf('report').render({ ...scope, steps: failed })
    expect(prompt).toContain('Notes B are missing')
    expect(prompt).toContain('The searches returned no list of sources.')
  })

  test('every researcher gets a search of its own from the plan', () => {
    const flow = createResearchFlow('a/x,b/y,c/z')
    expect(flow.steps[0]?.outputSchema).toMatchObject({ required: ['A', 'B', 'C'] })
    const parsed = { A: 'first?', B: 'second?', C: 'third?' }
    const plan = { plan: { output: '', status: 'SUCCESS', parsed } }
    const asked = ['searchA', 'searchB', 'searchC'].map((id) => promptOf(id, 'a/x,b/y,c/z').render({ ...scope, steps: plan }))
    expect(asked.map((prompt) => /\w+\?(?=\n\[end search)/.exec(prompt)?.[0])).toEqual(['first?', 'second?', 'third?'])
  })

  test('takes the researchers and the writer as positional arguments', () => {
    const flow = createResearchFlow(['a/x'], 'b/y')
    const targets = flow.steps.map(({ id, provider, model }) => `${id} ${provider}/${model}`)
    expect(targets).toEqual(expect.arrayContaining(['searchA a/x', 'report b/y', 'answer b/y']))
  })

  test('refuses a search tool without its provider, by name', () => {
    expect(() => createResearchFlow({ search: 'web_search' })).toThrow(/search: .*hosted\/<tool>/)
  })

  test('names what was found instead of a model', () => {
    expect(() => createResearchFlow({ writer: 'gpt' })).toThrow(/writer: expected .*"provider\/model", found "gpt"$/)
  })
})

describe('a run of the template research', () => {
  const models = { planner: 'scripted/m', writer: 'scripted/m', checker: 'scripted/m' } as const

  /** Runs the template; the scripted provider plans, writes, checks and answers. */
  async function research(search: string, researchers: string, also: Readonly<Record<string, Provider>>) {
    const plan = researchers.includes(',') ? { A: 'a?', B: 'b?' } : { A: 'a?' }
    const world = await scripted([JSON.stringify(plan), 'report', 'Refused: 0', 'answer'], also)
    const { dataSharing, orchestrator } = world.polyphony
    for (const id of ['scripted', ...Object.keys(also)]) await dataSharing.set(USER, id, { allowCrossProviderContext: true })
    const definition = createResearchFlow({ ...models, researchers, search })
    return { ...world, definition, check: await orchestrator.checkFlow(definition, USER), report: world.provider.requests }
  }
  const model = (id: string, ...replies: readonly ScriptedReply[]) => createScriptedProvider({ id, replies })

  test('goes without a researcher that failed, and its final request names the sources of the others', async () => {
    const first = model('first', { text: 'Rain falls.', sources: [RAIN] })
    const second = model('second', new OrchestratorError('PROVIDER_REJECTED', 'no'))
    const { run, definition, report, polyphony } = await research('hosted/web_search', 'first/m,second/m', { first, second })
    const { status, finalOutput, steps } = await run(definition)
    expect([status, finalOutput]).toEqual(['COMPLETED', 'answer'])
    expect(first.requests[0]?.hostedTools).toEqual(['web_search'])
    expect(steps.find(({ stepId }) => stepId === 'searchA')?.sources).toEqual([RAIN])
    expect(report[1]?.messages.at(-1)?.content).toContain('Notes B are missing')
    expect(report.at(-1)?.messages.at(-1)?.content).toContain(`[1] Rain: ${RAIN.url}`)
    await polyphony.close()
  })

  test('ends without an answer where no search succeeded', async () => {
    const first = model('first', new OrchestratorError('PROVIDER_REJECTED', 'no'))
    const { run, definition, report, polyphony } = await research('hosted/web_search', 'first/m', { first })
    await expect(run(definition)).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
    expect(report).toHaveLength(1)
    await polyphony.close()
  })

  test('searches with a function that is registered', async () => {
    const first = model('first', calling(['lookUp', { sku: 'rain' }]), 'Rain falls. [https://example.org/rain]')
    const functions = createToolProvider('function', { lookUp: lookUp() })
    const { run, definition, report, polyphony } = await research('function/lookUp', 'first/m', { first, function: functions })
    expect((await run(definition)).status).toBe('COMPLETED')
    expect(functions.received).toMatchObject([{ operation: 'lookUp', given: { sku: 'rain' } }])
    expect(report[1]?.messages.at(-1)?.content).toContain('Rain falls. [https://example.org/rain]')
    await polyphony.close()
  })

  test('with a function that is not registered, the check names it and the step', async () => {
    const first = model('first')
    const none = await research('function/find', 'first/m', { first })
    const functions = createToolProvider('function', { lookUp: lookUp() })
    const other = await research('function/find', 'first/m', { first, function: functions })
    expect(none.check.problems).toMatchObject([
      {
        code: 'PROVIDER_NOT_CONFIGURED',
        path: 'steps[1].tools',
        message: expect.stringContaining('no functions are registered'),
      },
    ])
    expect(other.check.problems).toMatchObject([{ path: 'steps[1].tools', message: expect.stringContaining('function/find') }])
    for (const { polyphony } of [none, other]) await polyphony.close()
  })
})
