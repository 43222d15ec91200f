import { expect, test } from 'vitest'
import { getFlowTemplate, listFlowTemplates } from '../../templates/index.ts'

const PANEL = ['openai/gpt-6-sol', 'local/llama', 'google/gemini-3.8-flash']

/** Options beyond the defaults, chosen so that every branch of a template shows. */
const OPTIONS: Readonly<Record<string, readonly object[]>> = {
  critique: [{ generator: 'a/x', critic: ['b/y', 'c/z'], rounds: 3 }],
  comparison: [
    { models: PANEL, quorum: 3 },
    { models: 'a/x,b/y', judge: 'c/z' },
  ],
  consensus: [
    { models: PANEL, quorum: 3 },
    { models: 'a/x,b/y', judge: 'c/z' },
  ],
  refinement: [{ minImprovement: 0.1, patience: 2, criteria: 'Uses {{ name }}' }],
  analysis: [{ analyst: 'a/x', synthesizer: 'b/y' }],
  research: [{ researchers: 'a/x,b/y,c/z', search: 'function/search' }],
  qa: [{ generator: 'a/x', checker: 'b/y', judge: 'c/z' }],
}

/** Definitions are stored and compared, their step ids and prompts are public: a change must be seen in a review. */
test.each(listFlowTemplates().map(({ name }) => name))('the definitions of %s are those of its snapshot', async (name) => {
  const definitions = [{}, ...(OPTIONS[name] ?? [])].map((options) => getFlowTemplate(name, options))
  await expect(`${JSON.stringify(definitions, null, 2)}\n`).toMatchFileSnapshot(`definitions/${name}.snap`)
})
