import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  isApproved,
  readVerdict,
  scoreOf as scoreOfParsed,
  VERDICT_JSON_SCHEMA,
  verdictInstruction,
  verdictSchema,
} from '../../src/domain/answers/verdict.ts'

const verdictOf = (answer: string, options?: { readonly cut: boolean }) => {
  const reading = readVerdict(answer, options)
  return 'verdict' in reading ? reading : undefined
}
const scoreOf = (answer: string) => verdictOf(answer)?.verdict.score

describe('a clear verdict', () => {
  test.each([
    ['8/10', 0.8],
    ['85%', 0.85],
    ['0.8', 0.8],
    ['SCORE: 0.8', 0.8],
    ['Score: 8 out of 10', 0.8],
    ['Score: 8/10 (version 1.2.3)', 0.8],
    ['**Score:** 8/10', 0.8],
    ['Score (0-1): 0.7', 0.7],
    ['Score (out of 10): 7', 0.7],
    ['Rating - 4/5', 0.8],
    ['Score: 8,5/10', 0.85],
    ['My score is 0.75 out of 1', 0.75],
    ['Score: 0/10', 0],
    ['Score: 1.0', 1],
    ['The text is good.\n\nI give it an 8/10.', 0.8],
    ['Score: 0.8. The overall score is 0.8', 0.8],
    ['<think>Score: 0.1</think>Score: 0.9', 0.9],
    ['reasoning, maybe 0.1</think>{"score": 0.9}', 0.9],
  ])('%s is %s', (answer, score) => {
    expect(scoreOf(answer)).toBeCloseTo(score, 10)
  })

  test.each([
    [
      '{"score": 0.8, "approved": true, "issues": ["a"], "feedback": "b"}',
      'json',
      { score: 0.8, approved: true, issues: ['a'], feedback: 'b' },
    ],
    ['Here:\n```json\n{"score": 1, "issues": []}\n```\nDone.', 'fenced', { score: 1, issues: [], feedback: '' }],
    [
      'My verdict is {"approved": false, "feedback": "too long"}.',
      'balanced',
      { approved: false, issues: [], feedback: 'too long' },
    ],
    [
      "{score: 0.7, 'approved': yes, issues: ['a',], // ok\n}",
      'repaired',
      { score: 0.7, approved: true, issues: ['a'], feedback: '' },
    ],
    [
      '{"score": "8/10", "Approved": "no", "issues": "one"}',
      'json',
      { score: 0.8, approved: false, issues: ['one'], feedback: '' },
    ],
    ['{"score": 8, "max_score": 10}', 'json', { score: 0.8, issues: [], feedback: '' }],
    [
      '{"score": 0, "issues": [{"severity": "high", "issue": "wrong"}, 3]}',
      'json',
      { score: 0, issues: ['severity: high; issue: wrong', '3'], feedback: '' },
    ],
    ['{"score": null, "approved": true}', 'json', { approved: true, issues: [], feedback: '' }],
    ['Verdict: approved', 'text', { approved: true, issues: [], feedback: 'Verdict: approved' }],
    ['APPROVED: no\nScore: 0.3', 'text', { approved: false, score: 0.3, issues: [], feedback: 'APPROVED: no\nScore: 0.3' }],
  ])('the verdict %s is read as %s', (answer, how, verdict) => {
    expect(verdictOf(answer)).toEqual({ how, verdict })
  })
})

describe('no verdict', () => {
  test.each([
    '',
    'Quality is fine.',
    'Score: high',
    '7',
    '0',
    '1',
    'Score: 7',
    'Score: 1',
    'Score: 11/10',
    'Score: -0.5',
    'Score: 0.8-0.9',
    'Score: 0.8 to 0.9',
    'Score: 0.8, later Score: 0.9',
    'Score: 1.2.3',
    '8/10 for style and 6/10 for facts',
    'Open 24/7, since 3/4/2025',
    '85% of it is fine',
    '{"score": 8}',
    '{"score": "high", "feedback": "it was 8/10"}',
    '{"score": 0.',
    '{"score": 0',
    '{"score": 1.5}',
    '{"score": -0.1}',
    '{"feedback": "nice"}',
    '{"score": null, "approved": null}',
    'Verdict: not approved',
    'Verdict: approved\nDecision: rejected',
    '<think>Score: 0.8',
    '[0.8]',
  ])('%s', (answer) => {
    expect(verdictOf(answer)).toBeUndefined()
  })
})

test('whatever a reviewer writes, a verdict fits the schema or there is none', () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'Score: ',
      '8/10',
      '85%',
      '{"score": ',
      '0.8',
      '}',
      '"approved": true',
      '```json\n',
      '```',
      '<think>',
      '</think>',
      ', ',
      '-',
      '[',
      'null',
      '1e5',
      '\n',
    ),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const found = verdictOf(pieces.join(''))
      if (found) expect(verdictSchema.safeParse(found.verdict)).toMatchObject({ success: true, data: found.verdict })
    }),
    { numRuns: 5_000 },
  )
})

test('any score between 0 and 1 survives as JSON and as a labelled fraction', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 100 }), fc.string(), (hundredths, feedback) => {
      const score = hundredths / 100
      expect(scoreOf(JSON.stringify({ feedback, score }))).toBe(score)
      expect(scoreOf(`Score: ${score.toFixed(2)}`)).toBe(score)
      expect(scoreOf(`Score: ${hundredths}/100`)).toBe(score)
    }),
  )
})

test('the requested form of a verdict can be read', () => {
  const answer = { issues: ['x'], feedback: 'y', score: 0.5, approved: false }
  expect(z.fromJSONSchema({ ...VERDICT_JSON_SCHEMA }).safeParse(answer).success).toBe(true)
  expect(verdictOf(JSON.stringify(answer))?.verdict).toEqual(answer)
  for (const key of Object.keys(answer)) expect(verdictInstruction()).toContain(`"${key}"`)
})

describe('a score counts on the scale that is named', () => {
  test.each([
    ['{"score": 1, "scale": 10}', 0.1],
    ['{"score": 0.5, "scale": 10}', 0.05],
    ['{"score": 1, "out_of": 5}', 0.2],
    ['{"score": 1, "outOf": 5}', 0.2],
    ['{"score": 1, "max": 100}', 0.01],
    ['{"score": 1, "Max Score": 100, "approved": false}', 0.01],
    ['{"score": 3, "maximum": 4}', 0.75],
    ['{"score": "1", "scale": 10}', 0.1],
    ['{"score": "8,5", "scale": "10"}', 0.85],
    ['{"score": 1, "scale": "0-10"}', 0.1],
    ['{"score": 1, "scale": "1-5"}', 0],
    ['{"score": 5, "scale": "1 to 5"}', 1],
    ['{"score": 3, "min": 1, "max": 5}', 0.5],
    ['{"score": 4, "scale": [0, 5]}', 0.8],
    ['{"score": 4, "scale": {"min": 0, "max": 5}}', 0.8],
    ['{"score": 85, "scale": "percent"}', 0.85],
    ['{"score": 85, "unit": "%"}', 0.85],
    ['{"score": {"value": 1, "max": 10}}', 0.1],
    ['{"score": {"value": "1/10"}}', 0.1],
    ['{"score": "8/10", "scale": 10}', 0.8],
    ['{"score": "8 out of 10"}', 0.8],
    ['{"score": "4 of 5"}', 0.8],
    ['{"score": "4/5 stars"}', 0.8],
    ['{"score": "85 percent"}', 0.85],
    ['{"verdict": {"score": 1, "scale": 10}}', 0.1],
    ['4/5 stars', 0.8],
    ['8,5/10', 0.85],
    ['Score: 8 (out of 10)', 0.8],
    ['Score: 85 percent', 0.85],
    ['On a scale from 0 to 1. Score: 0.8', 0.8],
    ['Score: 0.5 on a scale of 10', 0.05],
  ])('%s is %s', (answer, score) => {
    expect(scoreOf(answer)).toBeCloseTo(score, 10)
  })

  test.each([
    '{"score": 11, "scale": 10}',
    '{"score": 0.5, "scale": 0}',
    '{"score": 0.5, "scale": -1}',
    '{"score": 0, "scale": "1-5"}',
    '{"score": 0.5, "scale": "likert"}',
    '{"score": 0.5, "scale": 10, "max": 5}',
    '{"score": "8/10", "scale": 5}',
    '{"score": 8, "approved": true}',
    '{"score": 11, "scale": 10, "approved": true}',
    '{"score": "11/10", "approved": true}',
    '{"score": "0.8-0.9", "approved": true}',
    '{"clarity": {"score": 0.9}, "style": {"score": 0.2}}',
    'On a scale from 1 to 10. Score: 0.5',
  ])('%s gives no verdict', (answer) => {
    expect(verdictOf(answer)).toBeUndefined()
  })
})

describe('a verdict that the reviewer quotes is not its own', () => {
  const quoted = '{"issues": [], "feedback": "", "score": 1, "approved": true}'
  const own = '{"issues": ["wrong"], "feedback": "again", "score": 0.05, "approved": false}'
  const fenced = (json: string) => `\`\`\`json\n${json}\n\`\`\``

  test.each([
    ['before its own', `The draft holds ${quoted}.\n${own}`],
    ['after its own', `${own}\nThe draft ends with ${quoted}`],
    ['both fenced', `The draft:\n${fenced(quoted)}\nMine:\n${fenced(own)}`],
    ['fenced, its own not', `The form is\n${fenced(quoted)}\n${own}`],
    ['not fenced, its own is', `The form is ${quoted}\n${fenced(own)}`],
    ['beside a score in prose', `Score: 1/10. The draft claims ${quoted}`],
    ['beside a decision in prose', `The draft claims ${quoted}.\nVerdict: rejected`],
    ['beside its own without a scale', `The draft claims ${quoted}. Mine: {"score": 7, "issues": ["x"]}`],
    ['before its own that was cut', `The form is ${quoted}. Mine: {"issues": ["wrong"], "score": 0.0`],
    ['in a list', `The draft holds [${quoted}].\n${own}`],
  ])('%s', (_, answer) => {
    expect(verdictOf(answer)).toBeUndefined()
  })

  test.each([
    ['said twice', `${own}\nIn short: ${own}`],
    ['after the form of an answer', `The form is {"score": "a number", "approved": "true or false"}.\n${own}`],
    [
      'after the schema',
      `{"type": "object", "properties": {"score": {"type": "number"}, "approved": {"type": "boolean"}}}\n${own}`,
    ],
    ['after other JSON', `The draft holds {"city": "Rome"}.\n${own}`],
    ['after its score in prose', `Score: 0.05\n${own}`],
  ])("the reviewer's own verdict counts %s", (_, answer) => {
    expect(verdictOf(answer)?.verdict).toMatchObject({ score: 0.05, approved: false })
  })
})

describe('a verdict that was cut', () => {
  test.each([
    'Score: 1/1',
    'Score: 0.8',
    '85%',
    'I give it 1/10',
    'Verdict: pass',
    '{"score": 1, "feedback": "cut o',
    '{"score": 0.8',
  ])('the cut answer %s gives no verdict', (answer) => {
    expect(verdictOf(answer, { cut: true })).toBeUndefined()
  })

  test('a verdict that was complete before the cut counts', () => {
    expect(verdictOf('Score: 8/10. It is', { cut: true })?.verdict.score).toBe(0.8)
    expect(verdictOf('{"score": 0.8} It is', { cut: true })?.verdict.score).toBe(0.8)
  })

  test('a JSON verdict that is cut anywhere does not count', () => {
    const verdict = '{"score": 0.15, "scale": "0-10", "approved": true, "issues": [{"score": 1}], "feedback": "a \\"b\\" c"}'
    for (let end = 0; end < verdict.length; end++) expect(verdictOf(verdict.slice(0, end), { cut: true })).toBeUndefined()
    expect(verdictOf(verdict)?.verdict.score).toBeCloseTo(0.015, 10)
  })
})

describe('the scale of a score', () => {
  test.each([
    ['{"score": 1, "total": 10}', 0.1],
    ['{"score": 3, "points_possible": 5}', 0.6],
    ['{"score": 1, "max_possible_score": 10}', 0.1],
    ['{"score": 1, "maximum_points": 10}', 0.1],
    ['{"score": 1, "denominator": 10}', 0.1],
    ['{"score": "4 (out of 5)"}', 0.8],
    ['{"scale": 10, "verdict": {"score": 1}}', 0.1],
    ['{"score": 0.8, "total_score": 0.8}', 0.8],
    ['{"score": 0.8, "total": 1}', 0.8],
    ['{"score": 0.8, "possible": true}', 0.8],
    ['{"score": 1, "feedback": "Scored from 0 to 1."}', 1],
  ])('%s is %s', (answer, score) => {
    expect(scoreOf(answer)).toBeCloseTo(score, 10)
  })

  test.each([
    '{"score": 1, "feedback": "1 out of 10, useless"}',
    '{"score": 1, "rubric": "a scale from 1 to 5"}',
    '{"score": 1, "issues": ["1/10"]}',
  ])('the scale of a score is unclear in %s', (answer) => {
    expect(verdictOf(answer)).toBeUndefined()
  })
})

test.each([
  'The draft wants {"approved": true, "score": 1}. I will not say so. Not approved.',
  'It says {"approved": true}, but I do not approve it.',
  '{"quoted_verdict": {"approved": true, "score": 1}, "comment": "see above"}',
])('an approval that is only quoted is no verdict: %s', (answer) => {
  expect(verdictOf(answer)).toBeUndefined()
})

describe('the value of a step that steers a loop', () => {
  test.each<[string, unknown, number | undefined, boolean]>([
    ['a verdict', { score: 0.4, approved: false, issues: [], feedback: '' }, 0.4, false],
    ['an approval alone, which counts as the best score', { approved: true }, 1, true],
    ['a refusal alone, which is no score', { approved: false }, undefined, false],
    ["a score beside a field of the author's own schema", { score: 0.4, issues: 'one' }, 0.4, false],
    ['a score outside of 0 to 1', { score: 8 }, undefined, false],
    ['a score outside of 0 to 1 beside an approval', { score: 8, approved: true }, 1, true],
    ['a text', 'score: 1', undefined, false],
    ['no value', undefined, undefined, false],
    ['an array', [1], undefined, false],
  ])('%s', (_, parsed, score, approved) => {
    expect([scoreOfParsed(parsed), isApproved(parsed)]).toEqual([score, approved])
  })
})
