import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createPolyphony, defineFunction, type FlowDefinitionInput } from 'polyphony'
import * as z from 'zod'
import { type ExampleOptions, logLedger, runDirectly } from './example.ts'
import { questionOf, scriptedVendor } from './scripted-vendor.ts'

const CODE = 'export const median = (values) => values.sort()[values.length / 2]'

/** The tests of the project, which no model writes: a name, and an expression that is true. */
const TESTS: readonly (readonly [name: string, holds: string])[] = [
  ['of an odd number of values', 'median([3, 1, 2]) === 2'],
  ['of an even number of values', 'median([1, 2, 3, 4]) === 2.5'],
  ['of numbers of several digits', 'median([9, 10, 100]) === 10'],
]

/**
 * Runs code that a model wrote, in a process without variables of this one and for at most ten seconds. That process
 * may still read files and open connections: in production give it a container of its own.
 */
const runTests = defineFunction({
  description: 'Runs the tests of the project against a version of its code',
  input: z.object({ code: z.string() }),
  output: z.object({ passed: z.number(), failed: z.array(z.string()) }),
  idempotent: true,
  async run({ code }, { signal }) {
    const cases = TESTS.map(([name, holds]) => `[${JSON.stringify(name)}, () => ${holds}]`)
    const program = `${code}
      const ends = (test) => { try { return test() } catch { return false } }
      const failed = [${cases}].filter(([, test]) => !ends(test)).map(([name]) => name)
      console.log(JSON.stringify({ passed: ${TESTS.length} - failed.length, failed }))`
    const argv = ['--input-type=module', '--eval', program]
    try {
      const { stdout } = await promisify(execFile)(process.execPath, argv, { env: {}, timeout: 10_000, signal })
      return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
    } catch {
      return { passed: 0, failed: ['the code does not run'] }
    }
  },
})

const review = {
  action: 'analyze',
  system: 'You review code. Name what is wrong with it, and write a version that is right, as an ES module.',
  prompt: 'original',
  outputSchema: z.object({ findings: z.string(), code: z.string() }),
} as const

const versionOf = (id: string) => `The ${id} version:
{{ steps.${id}.parsed.code | fence: "${id} version" }}
{{ steps.${id}.parsed.findings | fence: "${id} findings" }}
{{ steps.${id}Tests.output | fence: "${id} tests" }}`

const codeReview: FlowDefinitionInput = {
  name: 'code review',
  type: 'graph',
  steps: [
    { id: 'first', model: 'openai/gpt-6-sol', ...review },
    { id: 'second', model: 'anthropic/claude-opus-5-5', ...review },
    ...['first', 'second'].map((id) => ({
      id: `${id}Tests`,
      model: 'function/runTests',
      action: 'run' as const,
      arguments: { code: `{{ steps.${id}.parsed.code }}` },
    })),
    {
      id: 'verdict',
      model: 'anthropic/claude-sonnet-5',
      action: 'evaluate',
      system: 'You decide which version is merged. Tests weigh more than arguments: a version that fails one is not merged.',
      prompt: `${versionOf('first')}\n\n${versionOf('second')}`,
    },
  ],
}

const medianOf = (sorted: string) => `export const median = (values) => {
  const sorted = ${sorted}
  const half = sorted.length / 2
  return sorted.length % 2 ? sorted[Math.floor(half)] : (sorted[half - 1] + sorted[half]) / 2
}`

const openai = () => {
  const findings = 'With an even number of values there are two in the middle.'
  return scriptedVendor('openai', () => JSON.stringify({ findings, code: medianOf('values.sort()') }))
}

const anthropic = () =>
  scriptedVendor('anthropic', (request) => {
    // The verdict follows the results of the tests that are in its prompt.
    if (!request.outputSchema) {
      const results = [...questionOf(request).matchAll(/"failed":(\[.*?\])/g)].map(([, failed = '']) => failed)
      return results.map((failed, index) => `version ${index + 1}: ${failed === '[]' ? 'merge' : `fails ${failed}`}`).join('\n')
    }
    const findings = 'sort() compares texts, so 10 is before 9; it also changes the list of the caller.'
    return JSON.stringify({ findings, code: medianOf('[...values].sort((a, b) => a - b)') })
  })

/** Two vendors propose, a function runs the tests of the project on each proposal, and the verdict reads the results. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({
    database: 'memory://',
    ...(!real && { providers: { openai: openai(), anthropic: anthropic() } }),
    functions: { runTests },
  })
  const { orchestrator, conversations, dataSharing } = polyphony
  await dataSharing.set('ada', 'anthropic', { allowCrossProviderContext: true })
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', codeReview)
  const result = await orchestrator.executeFlow(flow.id, 'ada', {
    input: CODE,
    onUpdate: ({ type, data }) => type === 'step_complete' && log(`${data.stepId} has ended`),
  })
  for (const { stepId, output } of result.steps) if (stepId.endsWith('Tests')) log(`${stepId}: ${output}`)
  log(`The verdict:\n${result.finalOutput}\n`)
  logLedger(result, log)
  await polyphony.close()
  return result
}

await runDirectly(import.meta.url, main)
