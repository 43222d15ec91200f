import fc from 'fast-check'
import { expect, test } from 'vitest'
import { COMMENT, createEventParser, type ServerSentEvent } from '../../src/client/http/event-parser.ts'

const parseAll = (chunks: readonly string[]): readonly ServerSentEvent[] => {
  const parse = createEventParser()
  return chunks.flatMap((chunk) => parse(chunk))
}

const cutAt = (text: string, cuts: readonly number[]): readonly string[] => {
  const bounds = [0, ...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length]
  return bounds.slice(1).map((end, index) => text.slice(bounds[index], end))
}

test('the parser returns the same events wherever the text is split, with every line ending, also mixed', () => {
  const event = fc.record({
    type: fc.constantFrom('message', 'step_progress', 'end'),
    lines: fc.array(
      fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, '')),
      { minLength: 1, maxLength: 3 },
    ),
  })
  const lineEnd = fc.constantFrom('\n', '\r', '\r\n')
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 6 }),
      fc.infiniteStream(lineEnd),
      fc.array(fc.nat(), { maxLength: 20 }),
      (events, ends, cuts) => {
        const next = () => ends.next().value
        let text = ''
        for (const { type, lines } of events) {
          const fields = [...(type === 'message' ? [] : [`event: ${type}`]), 'id: 7', ...lines.map((line) => `data: ${line}`)]
          // A CR that ends one line and an LF that ends the next, empty line would be parsed as one line ending.
          const end = next()
          text += [...fields, ''].map((field) => `${field}${end}`).join('')
        }
        const expected = events.map(({ type, lines }) => ({ type, data: lines.join('\n') }))
        expect(parseAll(cutAt(text, cuts))).toEqual(expected)
        expect(parseAll([...text])).toEqual(expected)
      },
    ),
    { numRuns: 300 },
  )
})

test.each<[string, string, readonly ServerSentEvent[]]>([
  ['an event without an empty line after it was cut', 'data: a\n\ndata: b\n', [{ type: 'message', data: 'a' }]],
  ['a comment is reported, so that a heartbeat is noticed', ': ping\n\n', [{ type: COMMENT, data: '' }]],
  [
    'one space after the colon belongs to the format, a second one to the value',
    'data:  a\ndata:b\n\n',
    [{ type: 'message', data: ' a\nb' }],
  ],
  ['a field without a colon is empty', 'data\n\n', [{ type: 'message', data: '' }]],
  ['an event without data is dropped together with its type', 'event: end\n\ndata: a\n\n', [{ type: 'message', data: 'a' }]],
  ['fields that nobody knows say nothing', 'retry: 5\nid: 1\nfoo: x\n\ndata: a\n\n', [{ type: 'message', data: 'a' }]],
  ['colons in a value stay', 'data: {"a":"b: c"}\n\n', [{ type: 'message', data: '{"a":"b: c"}' }]],
])('the event parser handles: %s', (_, text, expected) => {
  expect(parseAll([text])).toEqual(expected)
  expect(parseAll([...text])).toEqual(expected)
})

test('a CR LF that is split between two chunks ends one line', () => {
  expect(parseAll(['data: a\r', '\n', '\r', '', '\ndata: b\r\n\r\n'])).toEqual([
    { type: 'message', data: 'a' },
    { type: 'message', data: 'b' },
  ])
})

test('an event without an end is refused before it fills the memory', () => {
  const parse = createEventParser()
  const chunk = 'x'.repeat(8_000_000)
  parse('data: ')
  expect(() => {
    for (let count = 0; count < 9; count++) parse(chunk)
  }).toThrow(RangeError)
})
