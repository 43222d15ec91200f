import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toStorableJson, toStorableText } from '../../src/domain/storable-text.ts'

const clean = (text: string) => Buffer.from(text.replaceAll('\0', '\ufffd')).toString()

/** Text in which backslashes, NUL, halves of surrogate pairs and what looks like their escapes meet. */
const hostile = fc
  .array(fc.constantFrom('\\', '\\\\', '\0', '\ud83d', '\ude00', 'u0000', 'ud800', '\\u0000', '"', 'ü', '\n', 'a'), {
    maxLength: 12,
  })
  .map((parts) => parts.join(''))

test('JSON of any text reads back as the text with U+FFFD for characters that Postgres refuses', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const json = toStorableJson({ [text]: [text] })
      expect(JSON.parse(json)).toEqual({ [clean(text)]: [clean(text)] })
      expect(JSON.stringify(JSON.parse(json))).toBe(json)
    }),
    { numRuns: 2_000 },
  )
})

test('JSON inside JSON is unchanged except for characters that Postgres refuses', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const definition = JSON.stringify({ prompt: clean(text) })
      expect(JSON.parse(toStorableJson({ definition }))).toEqual({ definition })
    }),
  )
})

test('text loses its NUL characters and nothing else', () => {
  expect(toStorableText('a\0b\\u0000 😀')).toBe('a\ufffdb\\u0000 😀')
})
