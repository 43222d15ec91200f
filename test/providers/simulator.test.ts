import Anthropic from '@anthropic-ai/sdk'
import { GoogleGenerativeAI } from '@google/generative-ai'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { readVerdict, verdictInstruction } from '../../src/domain/answers/verdict.ts'
import { SIMULATED_SCENARIOS, type Simulator, startSimulator } from '../../src/providers/simulator.ts'

let simulator: Simulator
beforeAll(async () => {
  simulator = await startSimulator()
})
afterAll(() => simulator.close())

const openai = () => new OpenAI({ apiKey: 'k', baseURL: simulator.baseUrls.openai, maxRetries: 0 })
const patient = () => new OpenAI({ apiKey: 'k', baseURL: simulator.baseUrls.openai, maxRetries: 1 })
const anthropic = () => new Anthropic({ apiKey: 'k', baseURL: simulator.baseUrls.anthropic, maxRetries: 0 })
const gemini = (model = 'gemini-x') =>
  new GoogleGenerativeAI('k').getGenerativeModel({ model }, { baseUrl: simulator.baseUrls.google })

const SKY = 'Explain in five sentences why the sky is blue.'
const PLANTED = 'mirrors like a giant ceiling'
const fenced = (label: string, text: string) => `[begin ${label} 1f]\n${text}\n[end ${label} 1f]`

/** One plain question to Chat Completions: the shortest way to see what the simulator says. */
async function ask(prompt: string, { system, schema, model = 'm' }: { system?: string; schema?: object; model?: string } = {}) {
  const completion = await patient().chat.completions.create({
    model,
    messages: [...(system ? [{ role: 'system' as const, content: system }] : []), { role: 'user', content: prompt }],
    ...(schema && { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { ...schema } } } }),
  })
  return completion.choices[0]?.message.content ?? ''
}

describe('through the official SDKs', () => {
  test('OpenAI Responses answers plainly, with text and usage', async () => {
    const response = await openai().responses.create({ model: 'gpt-x', input: SKY })
    expect(response.output_text).toContain(PLANTED)
    expect(response).toMatchObject({ model: 'gpt-x', status: 'completed', usage: { input_tokens: 12 } })
    expect(response.usage?.output_tokens).toBeGreaterThan(50)
  })

  test('OpenAI Responses streams deltas that make up the text, and ends with usage', async () => {
    let text = ''
    let usage: OpenAI.Responses.ResponseUsage | undefined
    for await (const event of await openai().responses.create({ model: 'gpt-x', input: SKY, stream: true })) {
      if (event.type === 'response.output_text.delta') text += event.delta
      if (event.type === 'response.completed') usage = event.response.usage
    }
    expect(text).toContain(PLANTED)
    expect(usage?.input_tokens).toBe(12)
  })

  test('OpenAI Chat Completions answers plainly and streamed, with the same text and usage', async () => {
    const body = { model: 'gpt-x', messages: [{ role: 'user' as const, content: SKY }] }
    const whole = await openai().chat.completions.create(body)
    let text = ''
    let usage: OpenAI.CompletionUsage | null | undefined
    let finish: string | null | undefined
    for await (const chunk of await openai().chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      text += chunk.choices[0]?.delta.content ?? ''
      finish ??= chunk.choices[0]?.finish_reason
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(finish).toBe('stop')
    expect(usage).toEqual(whole.usage)
    expect(usage?.prompt_tokens).toBe(12)
  })

  test('Anthropic Messages answers plainly and streamed, with the same text and usage', async () => {
    const body = { model: 'claude-x', max_tokens: 100, messages: [{ role: 'user' as const, content: SKY }] }
    const whole = await anthropic().messages.create(body)
    const streamed = await anthropic().messages.stream(body).finalMessage()
    expect(whole.content).toMatchObject([{ type: 'text', text: expect.stringContaining(PLANTED) }])
    expect(streamed.content).toMatchObject(whole.content)
    expect(streamed.stop_reason).toBe('end_turn')
    expect(streamed.usage).toMatchObject({ input_tokens: 12, output_tokens: whole.usage.output_tokens })
  })

  test('Gemini answers plainly and streamed, with the same text and usage', async () => {
    const whole = await gemini().generateContent(SKY)
    const { stream, response } = await gemini().generateContentStream(SKY)
    let chunks = 0
    for await (const _ of stream) chunks++
    expect(chunks).toBeGreaterThan(3)
    expect((await response).text()).toBe(whole.response.text())
    expect(whole.response.text()).toContain(PLANTED)
    expect((await response).usageMetadata).toMatchObject({ promptTokenCount: 12 })
  })

  test('lists models for the checks of adapters', async () => {
    const names: string[] = []
    for await (const { id } of await openai().models.list()) names.push(id)
    expect(names).toEqual(['simulated'])
    const list = await fetch(`${simulator.baseUrls.google}/v1beta/models`)
    expect(await list.json()).toMatchObject({ models: [{ name: 'models/simulated' }] })
  })

  test('an unknown path is a 404 of the API, not an answer', async () => {
    await expect(openai().embeddings.create({ model: 'e', input: 'x' })).rejects.toMatchObject({ status: 404 })
  })
})

describe('the planted defect', () => {
  const critic = { system: 'You review a draft that someone else wrote for a task.', model: 'm' }
  const review = (draft: string) =>
    `The task was:\n${fenced('task', SKY)}\n\nThe draft to review:\n${fenced('draft', draft)}\n\n${verdictInstruction()}`

  test('is found by the critic, after one 429 without a wait', async () => {
    const body = {
      model: 'claude-x',
      max_tokens: 100,
      system: critic.system,
      messages: [{ role: 'user' as const, content: review(await ask(SKY)) }],
    }
    const refusal = await anthropic()
      .messages.create(body)
      .catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(Anthropic.RateLimitError)
    expect(refusal).toMatchObject({ status: 429 })
    expect(refusal instanceof Anthropic.APIError && refusal.headers?.get('retry-after')).toBe('0')
    const answer = await anthropic().messages.create(body)
    const [block] = answer.content
    const reading = readVerdict(block?.type === 'text' ? block.text : '')
    const issues = [expect.stringContaining('Rayleigh')]
    expect(reading).toMatchObject({ how: 'json', verdict: { approved: false, issues: expect.arrayContaining(issues) } })
  })

  test('is corrected by the revision, which the critic approves without a 429', async () => {
    const revised = await ask(review(await ask(SKY)), { system: 'You revise a draft with the help of a review.' })
    expect(revised).not.toContain(PLANTED)
    expect(readVerdict(await ask(review(revised), critic))).toMatchObject({ verdict: { approved: true, issues: [] } })
  })

  test('is described in prose if the request does not demand JSON', async () => {
    const prose = await ask(`${fenced('task', SKY)}\n${fenced('draft', `It ${PLANTED}.`)}`, critic)
    expect(prose).toMatch(/^Issues: \n1\. .*Rayleigh/)
    expect(prose).toContain('Approved: no')
  })

  test('is reviewed without a 429 if faults are off', async () => {
    const calm = await startSimulator({ faults: false })
    try {
      const client = new OpenAI({ apiKey: 'k', baseURL: calm.baseUrls.openai, maxRetries: 0 })
      const messages = [
        { role: 'system' as const, content: critic.system },
        { role: 'user' as const, content: review(`The sea ${PLANTED}.`) },
      ]
      const completion = await client.chat.completions.create({ model: 'm', messages })
      expect(completion.choices[0]?.message.content).toContain('"approved":false')
    } finally {
      await calm.close()
    }
  })
})

test('scores of the refinement scenario rise, the second one out of JSON that must be repaired', async () => {
  const task = SIMULATED_SCENARIOS.find(({ template }) => template === 'refinement')?.prompt ?? ''
  const about = (draft: string) => `${fenced('task', task)}\n${fenced('draft', draft)}\n${verdictInstruction()}`
  const readings: unknown[] = []
  let draft = await ask(task)
  for (let round = 1; round <= 3; round++) {
    const reading = readVerdict(await ask(about(draft), { system: 'You score a draft that someone else wrote.' }))
    readings.push('verdict' in reading ? [reading.how, reading.verdict.score] : reading)
    draft = await ask(about(draft), { system: 'You improve a draft with the help of a scored review.' })
  }
  expect(readings).toEqual([
    ['json', 0.38],
    ['repaired', 0.74],
    ['json', 0.92],
  ])
})

describe.each([
  ['comparison', 'You judge several answers to one task.', /Errors: "because 1\.10 minus 1\.00 is 0\.10"/, 'You answer.'],
  [
    'consensus',
    'You bring several independent answers to one consensus.',
    /^B: yes, because 2100/m,
    'Answer the question on your own judgement',
  ],
])('the panel of %s', (template, reviewer, finding, system) => {
  const prompt = SIMULATED_SCENARIOS.find((scenario) => scenario.template === template)?.prompt ?? ''
  const panel = (texts: readonly string[]) =>
    `${fenced('task', prompt)}\n\n${texts.map((text, index) => `Answer ${'ABC'[index]}:\n${fenced('answer', text)}`).join('\n\n')}`

  test('has one wrong member, which the reviewer finds at any position', async () => {
    const right = await ask(prompt, { system })
    const wrong = (
      await gemini().generateContent({ systemInstruction: system, contents: [{ role: 'user', parts: [{ text: prompt }] }] })
    ).response.text()
    const verdict = await ask(panel([right, wrong, right]), { system: reviewer })
    expect(verdict).toMatch(finding)
    expect(verdict).not.toMatch(/gemini|google|openai/i)
    expect(await ask(panel([right, right]), { system: reviewer })).not.toMatch(finding)
  })
})

describe('requests without a scenario', () => {
  test('get a text that is marked as simulated and names no model', async () => {
    const text = await ask('Write a haiku about rain 🌧', { model: 'secret-model' })
    expect(text).toContain('Simulated text, version 1, on "Write a haiku about rain 🌧"')
    expect(text).not.toContain('secret-model')
  })

  test('get a verdict that finds an issue first and approves a later version', async () => {
    const order = 'Evaluate the text. Reply in JSON with score and approved.\n'
    const first = await ask('Describe a table')
    const second = await ask(`Improve this:\n${first}`)
    expect(readVerdict(await ask(order + first))).toMatchObject({ verdict: { approved: false, score: 0.5 } })
    expect(readVerdict(await ask(order + second))).toMatchObject({ verdict: { approved: true, score: 0.7 } })
  })

  test('requests without a scenario get a word of their closed list', async () => {
    const system = 'Sort the request. Reply with exactly one word: BILLING, BUG or OTHER.'
    expect(await ask('I paid twice', { system })).toBe('OTHER')
    const categories = 'Reply with exactly one of these words.\nTECHNICAL: code.\nCREATIVE: poems.\nGENERAL: the rest.'
    expect(await ask('Write a poem about snow', { system: categories })).toBe('CREATIVE')
    expect(await ask('Why does my server crash?', { system: categories })).toBe('TECHNICAL')
  })

  const shape = z.strictObject({
    kind: z.enum(['invoice', 'letter']),
    total: z.number().min(10).max(20),
    count: z.int().min(3),
    day: z.iso.date(),
    mail: z.email(),
    tags: z.array(z.string().min(20)).min(2),
    nested: z.object({ flag: z.boolean(), either: z.union([z.null(), z.number()]) }),
    note: z.string().max(5).optional(),
  })

  test.each([
    ['OpenAI Chat', (schema: Record<string, unknown>) => ask('Extract', { schema })],
    [
      'OpenAI Responses',
      async (schema: Record<string, unknown>) => {
        const text = { format: { type: 'json_schema' as const, name: 'answer', schema } }
        return (await openai().responses.create({ model: 'm', input: 'Extract', text })).output_text
      },
    ],
    [
      'Anthropic',
      async (schema: Record<string, unknown>) => {
        const message = await anthropic().messages.create({
          model: 'm',
          max_tokens: 10,
          messages: [{ role: 'user', content: 'Extract' }],
          output_config: { format: { type: 'json_schema', schema } },
        })
        return message.content[0]?.type === 'text' ? message.content[0].text : ''
      },
    ],
    [
      'Gemini',
      async (schema: Record<string, unknown>) => {
        const body = { contents: [{ parts: [{ text: 'Extract' }] }], generationConfig: { responseJsonSchema: schema } }
        const url = `${simulator.baseUrls.google}/v1beta/models/m:generateContent`
        const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
        const parsed = z
          .object({ candidates: z.array(z.object({ content: z.object({ parts: z.array(z.object({ text: z.string() })) }) })) })
          .parse(await answer.json())
        return parsed.candidates[0]?.content.parts[0]?.text ?? ''
      },
    ],
  ])('get JSON that fits the schema given to %s', async (_name, request) => {
    const { $schema: _, ...schema } = z.toJSONSchema(shape)
    expect(shape.safeParse(JSON.parse(await request(schema))).error).toBeUndefined()
  })

  test('get JSON for recursive schemas without hanging', async () => {
    const schema = { $ref: '#/$defs/node', $defs: { node: { type: 'object', properties: { child: { $ref: '#/$defs/node' } } } } }
    expect(JSON.parse(await ask('Extract', { schema }))).toHaveProperty('child.child')
  })
})

test('answers do not depend on the order of requests', async () => {
  const prompts = SIMULATED_SCENARIOS.map(({ prompt }) => prompt)
  const forward = await Promise.all(prompts.map((prompt) => ask(prompt)))
  const backward = await Promise.all(prompts.toReversed().map((prompt) => ask(prompt)))
  expect(backward.toReversed()).toEqual(forward)
})

test('scenarios of the caller come before the built-in ones', async () => {
  const own = await startSimulator({
    scenarios: [{ template: 'critique', prompt: SKY, topic: 'the sky', replies: [{ says: 'Magic.' }] }],
  })
  try {
    const client = new OpenAI({ apiKey: 'k', baseURL: own.baseUrls.openai })
    expect((await client.responses.create({ model: 'm', input: SKY })).output_text).toBe('Magic.')
  } finally {
    await own.close()
  }
})

test('close ends a running stream and frees the port', async () => {
  const slow = await startSimulator({ chunkDelayMs: 20 })
  const client = new OpenAI({ apiKey: 'k', baseURL: slow.baseUrls.openai, maxRetries: 0 })
  const stream = await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: SKY }], stream: true })
  const reading = (async () => {
    for await (const _ of stream) await slow.close()
  })()
  await expect(reading).rejects.toThrow()
  await expect(fetch(slow.baseUrls.openai)).rejects.toThrow()
})

test('endpoint returns the address for each kind of adapter', () => {
  expect(simulator.endpoint('openai')).toEqual({ baseUrl: simulator.baseUrls.openai, apiKey: 'simulated', api: 'responses' })
  expect(simulator.endpoint('openai-compatible')).toEqual({ baseUrl: simulator.baseUrls.openai, apiKey: 'simulated' })
  expect(simulator.endpoint('google').baseUrl).toBe(simulator.baseUrls.google)
})
