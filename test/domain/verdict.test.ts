import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { readVerdict, VERDICT_JSON_SCHEMA, verdictInstruction, verdictSchema } from '../../src/domain/verdict.ts'

const scoreOf = (answer: string) => readVerdict(answer)?.verdict.score

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
    ['{"score": 0.5, "feedback": "cut o', 'repaired', { score: 0.5, issues: [], feedback: 'cut' }],
    ['Verdict: approved', 'text', { approved: true, issues: [], feedback: 'Verdict: approved' }],
    ['APPROVED: no\nScore: 0.3', 'text', { approved: false, score: 0.3, issues: [], feedback: 'APPROVED: no\nScore: 0.3' }],
  ])('%s is read as %s', (answer, how, verdict) => {
    expect(readVerdict(answer)).toEqual({ how, verdict })
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
    expect(readVerdict(answer)).toBeUndefined()
  })
})

test('whatever a judge writes, a verdict fits the schema or there is none', () => {
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
      const found = readVerdict(pieces.join(''))
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

test('what is asked for can be read back', () => {
  const answer = { issues: ['x'], feedback: 'y', score: 0.5, approved: false }
  expect(z.fromJSONSchema({ ...VERDICT_JSON_SCHEMA }).safeParse(answer).success).toBe(true)
  expect(readVerdict(JSON.stringify(answer))?.verdict).toEqual(answer)
  for (const key of Object.keys(answer)) expect(verdictInstruction()).toContain(`"${key}"`)
})
