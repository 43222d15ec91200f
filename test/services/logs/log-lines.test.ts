import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLineSplitter, LONGEST_LINE_BYTES } from '../../../src/services/logs/log-lines.ts'
import type { LogLine } from '../../../src/services/service.ts'

function linesOf(...chunks: readonly Buffer[]): LogLine[] {
  const lines: LogLine[] = []
  const splitter = createLineSplitter((line) => lines.push(line))
  for (const chunk of chunks) splitter.push(chunk)
  splitter.end()
  return lines
}

test('the lines of a text are the same however its bytes arrive', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), fc.array(fc.nat(20)), (texts, cuts) => {
      const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''))
      const chunks: Buffer[] = []
      let from = 0
      for (const cut of cuts) {
        chunks.push(bytes.subarray(from, from + cut))
        from += cut
      }
      chunks.push(bytes.subarray(from))
      expect(linesOf(...chunks)).toEqual(linesOf(bytes))
    }),
  )
})

test('control sequences and characters are removed, invalid bytes are replaced, tabs stay', () => {
  const bytes = Buffer.concat([
    Buffer.from('\u001b[31mred\u001b[0m\tone \u001b]0;title\u0007two\r\n'),
    Buffer.from([0x61, 0xff, 0x00, 0x62, 0x0a]),
    Buffer.from('safe \u202Eesrever\n'),
    Buffer.from('no line feed'),
  ])
  expect(linesOf(bytes).map(({ text }) => text)).toEqual(['red\tone two', 'a\ufffdb', 'safe esrever', 'no line feed'])
})

test('a line that is too long is cut and marked, at a whole character', () => {
  const long = Buffer.from(`${'ä'.repeat(LONGEST_LINE_BYTES)}\nnext\n`)
  const [line, next] = linesOf(Buffer.from('x'), long)
  expect(line).toEqual({ text: `x${'ä'.repeat(LONGEST_LINE_BYTES / 2 - 1)}`, cut: true })
  expect(next).toEqual({ text: 'next' })
})
