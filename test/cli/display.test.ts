import { readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { formatCost, formatDuration, formatTotalCost, formatUsd } from '../../src/cli/amounts.ts'
import { renderTree } from '../../src/cli/live-tree.ts'
import { lastLines, toPlainText, toTable, toWidth, truncate } from '../../src/cli/plain-text.ts'
import { createRunState } from '../../src/cli/run-state.ts'
import { toNoteLines, toSourceLines } from '../../src/cli/step-table.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { stepResult } from '../support/stored-data.ts'

const ESCAPE = '\u001b'

describe('foreign text', () => {
  test.each([
    [`a${ESCAPE}[31mred${ESCAPE}[0m`, 'ared'],
    [`${ESCAPE}]8;;https://evil.example${ESCAPE}\\link`, ']8;;https://evil.example\\link'],
    ['line\r\nline\ttab\rover', 'line\nline\ttabover'],
    ['\u009b2Jx\u0007\u0000', 'x'],
    ['abc\u202ecba', 'abccba'],
    [ESCAPE, ''],
  ])('%j is shown as %j', (text, plain) => {
    expect(toPlainText(text)).toBe(plain)
  })

  test('an escape sequence that arrives in two chunks is removed as well', () => {
    expect(toPlainText(toPlainText(`a${ESCAPE}`) + toPlainText('[2Jb'))).toBe('a[2Jb')
  })
})

describe('columns', () => {
  test('wide characters count two, marks and styles nothing', () => {
    expect(toWidth('漢字')).toBe(4)
    expect(toWidth('e\u0301')).toBe(1)
    expect(toWidth(`${ESCAPE}[1mab${ESCAPE}[0m`)).toBe(2)
  })

  test('a cut text fits its columns, wide characters too', () => {
    expect(truncate('漢字漢字', 5)).toBe('漢字…')
    expect(truncate('abc', 3)).toBe('abc')
  })

  test('the end of a streamed text is broken between words', () => {
    expect(lastLines('one two three four', 9, 2)).toEqual(['one two', 'three', 'four'].slice(-2))
  })

  test('a table aligns its numbers to the right', () => {
    expect(
      toTable(
        [
          ['a', '1', 'x'],
          ['bb', '22', 'y'],
        ],
        [1],
      ),
    ).toEqual(['a    1  x', 'bb  22  y'])
  })
})

describe('the lines below the table of steps', () => {
  const result = stepResult('flow', 'ask', {
    iteration: 2,
    notes: [`cut ${ESCAPE}[31mhere`],
    sources: [
      { kind: 'citation', url: 'https://example.org/a', title: `A${ESCAPE}[2J page` },
      { kind: 'annotation', url: 'https://example.org/a', title: 'A page', startIndex: 3, endIndex: 5 },
      { kind: 'search_result', text: 'found words' },
      { kind: 'citation' },
    ],
  })

  test('notes are shown with their step, without escape sequences', () => {
    expect(toNoteLines([result])).toEqual(['ask #2: cut here'])
  })

  test('each source is shown once, with title and URL or with its quoted text', () => {
    expect(toSourceLines([result, stepResult('flow', 'other')])).toEqual([
      'ask #2: A page https://example.org/a',
      'ask #2: found words',
    ])
  })
})

describe('amounts', () => {
  test('an unknown price is never shown as a number', () => {
    expect(formatCost({ simulated: false, cost: undefined })).toBe('unknown')
    expect(formatTotalCost({ simulated: false, totalCost: 0, unpricedSteps: 2 })).toBe('unknown for 2 steps')
    expect(formatTotalCost({ simulated: false, totalCost: 0.5, unpricedSteps: 1 })).toBe('$0.5000, unknown for 1 step')
  })

  test('a simulated cost is never shown as a number', () => {
    expect(formatCost({ simulated: true, cost: 0.3 })).toBe('simulated')
    expect(formatTotalCost({ simulated: true, totalCost: 0, unpricedSteps: 0 })).toBe('simulated')
  })

  test('a tiny amount is not rounded to zero', () => {
    expect(formatUsd(0.000_001)).toBe('<$0.0001')
    expect(formatUsd(12.345)).toBe('$12.35')
  })

  test('durations keep the digits that matter', () => {
    expect([12.4, 1_234, 61_000].map(formatDuration)).toEqual(['12 ms', '1.2 s', '1 min 1 s'])
  })
})

describe('live tree', () => {
  const timestamp = new Date(0)
  const start = (stepId: string, iteration = 1): FlowUpdate => ({
    ...{ seq: 1, flowId: 'f', type: 'step_start', stepId, iteration, timestamp },
    data: { provider: 'openai', model: 'm', action: 'generate', stepIndex: 0, sharing: [] },
  })
  const progress = (stepId: string, delta: string): FlowUpdate => ({
    ...{ seq: 2, flowId: 'f', type: 'step_progress', stepId, iteration: 1, timestamp },
    data: { delta },
  })
  const retry = (stepId: string): FlowUpdate => ({
    ...{ seq: 3, flowId: 'f', type: 'step_retry', stepId, iteration: 1, timestamp },
    data: {
      ...{ attempt: 1, delayMs: 5, provider: 'openai', model: 'm', restart: true },
      error: { code: 'PROVIDER_RATE_LIMITED', message: 'slow down', retryable: true, details: {} },
    },
  })
  const linesAfter = (...updates: readonly FlowUpdate[]) => {
    const state = createRunState('my flow', () => 0)
    for (const update of updates) state.apply(update)
    return renderTree(state, { nowMs: 1_500, columns: 60, style: (_format, text) => text })
  }

  test('the live tree shows model, time and the end of the text of a running step', () => {
    const lines = linesAfter(start('draft'), progress('draft', `safe${ESCAPE}[2J text`))
    expect(lines).toEqual(['my flow', expect.stringMatching(/draft {2}openai\/m {2}1\.5 s$/), '  │ safe text'])
  })

  test('a retry that starts over removes the text and is noted', () => {
    const lines = linesAfter(start('draft'), progress('draft', 'half an ans'), retry('draft'))
    expect(lines.slice(1)).toEqual([expect.stringMatching(/^↻/), '  ! retried after PROVIDER_RATE_LIMITED'])
  })

  test('every iteration of a loop has its own line in the live tree', () => {
    expect(linesAfter(start('review'), start('review', 2)).slice(1)).toEqual([
      expect.stringContaining('review  '),
      expect.stringContaining('review #2'),
    ])
  })
})

test('the command line starts with commander alone: everything else is loaded by the command that needs it', () => {
  const source = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const packages = new Set<string>()
  const seen = new Set<string>()
  const walk = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const [, specifier = ''] of readFileSync(file, 'utf8').matchAll(/^import (?!type\b)[^'\n]*'([^']+)'/gm)) {
      if (specifier.startsWith('.')) walk(resolve(dirname(file), specifier))
      else if (!specifier.startsWith('node:')) packages.add(specifier)
    }
  }
  walk(source)
  expect([...packages]).toEqual(['commander'])
  const root = resolve(dirname(source), '..')
  const elsewhere = [...seen].map((file) => relative(root, file)).filter((file) => !/^(cli|errors)\//.test(file))
  // Files without imports of packages, which cost no time at the start.
  expect(elsewhere.sort()).toEqual([
    'config/automation/definition-file.ts',
    'config/decode-text.ts',
    'config/version.ts',
    'domain/blank-text.ts',
    'domain/control-characters.ts',
    'domain/users/api-key.ts',
    'domain/vocabulary.ts',
    'system/error-code.ts',
    'system/private-directory.ts',
    'system/process-table.ts',
    'system/processes.ts',
    'system/ps.ts',
    'system/server-file.ts',
    'system/stat.ts',
    'system/supervised-processes.ts',
  ])
})
