import { expect, test } from 'vitest'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { runBlock } from '../support/run-block.ts'

const programs = (page: string) =>
  codeBlocks(readMarkdown(page))
    .filter(({ language }) => language === 'ts')
    .map(({ code }) => code)

const TIMEOUT_MS = 120_000

test(
  'the programs about testing answer from a script and from a recording, as their page says',
  async () => {
    const [scripted = '', recorded = ''] = programs('docs/testing.md')
    expect(await runBlock(scripted)).toBe('Rain falls because drops grow heavy. / 2 attempts\nExplain rain briefly.\n')
    expect(await runBlock(recorded)).toBe('the same flow\n')
  },
  TIMEOUT_MS,
)

test(
  'the program about caching gets one answer for two flows',
  async () => {
    const [program = ''] = programs('docs/caching.md')
    expect(await runBlock(program)).toBe('first Drops grow heavy. false\nsecond Drops grow heavy. true\n')
  },
  TIMEOUT_MS,
)

test(
  'the programs about values in caches and about events print what their pages say',
  async () => {
    const [, cache = ''] = programs('docs/caching.md')
    expect(await runBlock(cache)).toBe('Good morning RAIN RAIN 2\n')
    const [events = ''] = programs('docs/events.md')
    expect(await runBlock(events)).toBe('1 order_paid {"amount":12}\n2 order_sent {}\norder_paid, order_sent\n')
  },
  TIMEOUT_MS,
)

test.each([
  'docs/files.md',
  'docs/functions.md',
  'docs/tools.md',
  'docs/ai-sdk.md',
  'docs/agents.md',
  'docs/services.md',
  'docs/from-your-api.md',
])(
  'the programs of %s run to their end',
  async (page) => {
    for (const program of programs(page)) expect((await runBlock(program)).trim()).not.toBe('')
  },
  TIMEOUT_MS,
)
