import { describe, expect, test } from 'vitest'
import type { PromptScope } from '../../src/domain/definition/prompt-scope.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { compileTemplate } from '../../src/prompts/template.ts'
import { caught } from '../support/caught.ts'
import { HOSTILE_TEMPLATES } from '../support/hostile-sources.ts'

const scope: PromptScope = {
  original: 'Write a haiku',
  steps: { draft: { output: 'Rain falls', status: 'SUCCESS', parsed: { score: 0.8 }, samples: ['a', 'b'] } },
  iteration: 2,
  metadata: { tone: 'dry' },
}
const render = (source: string, over: Partial<PromptScope> = {}) => compileTemplate(source).render({ ...scope, ...over })

describe('rendering', () => {
  test('a template can read every name of the scope', () => {
    const source =
      '{{ original }}|{{ input }}|{{ previous }}|{{ steps.draft.output }}|{{ steps["draft"].parsed.score }}|{{ iteration }}|{{ metadata.tone }}|{% for m in history %}{{ m.role }}{% endfor %}'
    const over = { input: 'in', previous: 'prev', history: [{ role: 'user', content: 'x' }] }
    expect(render(source, over)).toBe('Write a haiku|in|prev|Rain falls|0.8|2|dry|user')
  })

  test('a template lists the sources of a step', () => {
    const sources = [
      { kind: 'citation', url: 'https://example.org/rain', title: 'Rain' },
      { kind: 'annotation', title: 'Fog' },
    ] as const
    const source =
      '{% for source in steps.draft.sources %}{{ forloop.index }} {{ source.title }} {{ source.url | default: "-" }};{% endfor %}'
    expect(render(source, { steps: { draft: { output: 'x', status: 'SUCCESS', sources } } })).toBe(
      '1 Rain https://example.org/rain;2 Fog -;',
    )
  })

  test('text without marks stays unchanged, whatever braces it contains', () => {
    expect(render('Answer as {"score": 1} } %} original')).toBe('Answer as {"score": 1} } %} original')
  })

  test('renders outputs as text, never as templates', () => {
    const steps = { draft: { output: '{{ original }}{% if true %}x{% endif %}', status: 'SUCCESS' } }
    expect(render('{{ steps.draft.output }}', { steps })).toBe('{{ original }}{% if true %}x{% endif %}')
  })

  test('the fence filter wraps an output under its label', () => {
    expect(render('{{ steps.draft.output | fence: "draft" }}')).toMatch(
      /^\[begin draft [0-9a-f]{16}: .*\]\nRain falls\n\[end draft [0-9a-f]{16}\]$/,
    )
  })

  test('a missing variable fails the step and is named', () => {
    expect(caught(() => render('a\n {{ previous }}'))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringContaining('"previous"'),
      details: { variable: 'previous', line: 2, column: 5 },
    })
  })

  test('a missing variable is false in a condition and replaced by default', () => {
    expect(render('{% if previous %}yes{% else %}no{% endif %} {{ metadata.missing | default: "other" }}')).toBe('no other')
  })

  test('an error of an accessor is rethrown unchanged', () => {
    const denied = new OrchestratorError('DATA_SHARING_DENIED', 'not for you', { details: { piece: 'draft' } })
    const steps = {
      draft: {
        status: 'SUCCESS',
        get output(): string {
          throw denied
        },
      },
    }
    expect(caught(() => render('{{ steps.draft.output }}', { steps }))).toBe(denied)
    expect(caught(() => render('{% if steps.draft.output contains "a" %}{% endif %}', { steps }))).toBe(denied)
    expect(render('{{ steps.draft.status }}', { steps })).toBe('SUCCESS')
  })

  test('accessors that the template does not name are never read', () => {
    const steps = {
      draft: { output: 'ok', status: 'SUCCESS' },
      get secret(): never {
        throw new Error('read')
      },
    }
    expect(render('{{ steps.draft.output }}', { steps })).toBe('ok')
  })

  test('a computed name cannot read what was not found statically', () => {
    const steps = { draft: { output: 'a', status: 'SUCCESS' }, secret: { output: 'canary', status: 'SUCCESS' } }
    const source = '{% assign k = "ste" | append: "ps" %}{{ steps.draft.status }}{{ [k].secret.output }}'
    expect(caught(() => render(source, { steps }))).toBeInstanceOf(OrchestratorError)
  })
})

describe('references', () => {
  const references = (source: string) => compileTemplate(source).references

  test('finds steps behind filters, tags, quotes and aliases', () => {
    const source =
      '{{ steps.a.output | append: steps["b"].output }}{% assign x = steps.c %}{% for s in steps.d.samples %}{% if steps.e.output contains original %}{% endif %}{% endfor %}{% case steps.f.status %}{% when steps.g.status %}{% endcase %}{% capture y %}{{ steps.h.output }}{% endcapture %}'
    expect([...references(source).steps].sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
    expect(references(source)).toMatchObject({ original: true, previous: false, allSteps: false })
  })

  test.each(['{% assign s = steps %}{{ s.x }}', '{{ steps[original].output }}', '{% for s in steps %}{{ s[0] }}{% endfor %}'])(
    'the template %s may read every step',
    (source) => {
      expect(references(source).allSteps).toBe(true)
    },
  )

  test('input, previous and history are distinguished', () => {
    expect(references('{{ input }}')).toMatchObject({ input: true, previous: false, history: false })
    expect(references('{{ previous }}')).toMatchObject({ input: false, previous: true, history: false })
    expect(references('{% for m in history %}{% endfor %}')).toMatchObject({ history: true })
  })
})

describe('invalid sources are rejected before they run', () => {
  test.each([
    ['{{ orignal }}', 'unknown variable "orignal"; did you mean "original"?'],
    ['{{ steps.draft.outptu }}', 'did you mean "output"?'],
    ['{{ original | upcse }}', 'undefined filter: upcse'],
    ['{% include "x" %}', 'tag "include" not found'],
    ['{{ original', 'not closed'],
    ['{% if original %}', 'not closed'],
  ])('%s', (source, message) => {
    const error = caught(() => compileTemplate(source))
    expect(error).toMatchObject({ code: 'FLOW_INVALID', details: { line: 1 } })
    expect(error).toHaveProperty('message', expect.stringContaining(message))
  })

  test('a template compiles once', () => {
    expect(compileTemplate('{{ original }} once')).toBe(compileTemplate('{{ original }} once'))
  })
})

describe('hostile templates', () => {
  test('there are at least 300 of them', () => {
    expect(new Set(HOSTILE_TEMPLATES).size).toBeGreaterThanOrEqual(300)
  })

  test('none reads a file, reaches a prototype or ends in an error without a code', () => {
    const metadata = { path: 'package.json', list: [1, 2] }
    const steps = {
      draft: { output: 'D', status: 'SUCCESS', parsed: { a: 1 } },
      big: { output: 'lorem ipsum '.repeat(100_000), status: 'SUCCESS' },
    }
    for (const source of HOSTILE_TEMPLATES) {
      let text = ''
      try {
        text = render(source, { metadata, steps })
      } catch (error) {
        expect(OrchestratorError.is(error), source.slice(0, 100)).toBe(true)
      }
      expect(text, source.slice(0, 100)).not.toMatch(/"devDependencies"|root:|\[native code\]|\[object process\]|function /)
    }
  })

  test('a loop that never stops by itself ends at a counted limit, not at the clock', () => {
    const source =
      '{% assign a = (1..1000) %}{% for i in a %}{% for j in a %}{% for k in a %}{% endfor %}{% endfor %}{% endfor %}'
    expect(caught(() => render(source))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringMatching(/expected at most 100000 texts, values and tags, found at least \d+: loop over fewer/),
    })
  })
})

describe('ordinary prompts over large outputs', () => {
  const text = (kilobytes: number) => 'lorem ipsum dolor sit amet\n'.repeat(Math.ceil((kilobytes * 1_000) / 27))
  const many = (count: number, kilobytes: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`b${index}`, { output: text(kilobytes), status: 'SUCCESS' as const }]),
    )

  test.each([
    [
      'lines numbered one by one',
      1,
      60,
      '{% assign lines = steps.b0.output | split: "\n" %}{% for l in lines %}{{ forloop.index }}. {{ l }}\n{% endfor %}',
    ],
    [
      'a hundred outputs, stripped and fenced',
      100,
      20,
      '{% for s in steps %}{{ s[1].output | strip | fence: s[0] }}\n{% endfor %}',
    ],
    ['the first words of large outputs', 10, 100, '{% for s in steps %}{{ s[1].output | truncatewords: 500 }}{% endfor %}'],
  ])('over large outputs %s are rendered', (_, count, kilobytes, source) => {
    const steps = many(count, kilobytes)
    expect(compileTemplate(source).render({ ...scope, steps })).toContain('lorem ipsum dolor')
  })

  test('an oversized prompt is rejected with the limit, the size found and a remedy', () => {
    const source = '{% for s in steps %}{{ s[1].output }}{% endfor %}'
    expect(caught(() => compileTemplate(source).render({ ...scope, steps: many(30, 400) }))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringMatching(/at most 10000000 characters of prompt, found at least \d+: put fewer or shorter outputs/),
      details: { limit: 'outputLength', max: 10_000_000 },
    })
  })
})
