import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type PageOrder, parseCursor, toCursorText } from '../../src/domain/page-cursor.ts'

const byName: PageOrder = { name: 'flows by name ASC', by: 'text' }
const byDate: PageOrder = { name: 'flows by createdAt ASC', by: 'instant' }
const refusal = (order: PageOrder, text: string, isId?: (id: string) => boolean) => {
  try {
    return parseCursor(order, text, isId)
  } catch (error) {
    return error
  }
}

describe('a cursor', () => {
  test.each([
    [byName, { id: 'a', value: 'report' }],
    [byName, { id: 'a b:c', value: '' }],
    [byName, { id: 'a', value: 'half \ud800 pair, NUL \0 and 😀' }],
    [byName, { id: 'a', value: null }],
    [byDate, { id: 'a', value: new Date(0) }],
    [byDate, { id: 'a', value: new Date(Date.UTC(2026, 10, 20, 1, 2, 3, 4)) }],
    [byDate, { id: 'a', value: null }],
  ])('in the order %j comes back as it was: %j', (order, cursor) => {
    const text = toCursorText(order, cursor)
    expect(text).toMatch(/^[A-Za-z0-9_-]+$/)
    expect(parseCursor(order, text)).toEqual(cursor)
  })

  test('a cursor stays short for the longest names and ids', () => {
    const long = { name: 'flows by completedAt DESC', by: 'text' } as const
    expect(toCursorText(long, { id: 'x'.repeat(36), value: '\u0001'.repeat(200) }).length).toBeLessThanOrEqual(1_000)
  })

  test('a cursor of another order is rejected', () => {
    const text = toCursorText(byName, { id: 'a', value: 'report' })
    for (const name of ['flows by name DESC', 'flows by createdAt ASC', 'threads by name ASC']) {
      expect(refusal({ name, by: 'text' }, text)).toMatchObject({ code: 'INPUT_INVALID' })
    }
  })

  test('a foreign cursor is rejected, and the error does not repeat it', () => {
    const forged = (...parts: string[]) => Buffer.from(parts.join('\0'), 'utf16le').toString('base64url')
    const texts = [
      '',
      'secret',
      '!!!',
      `${toCursorText(byDate, { id: 'a', value: null })}A`,
      `${toCursorText(byDate, { id: 'a', value: null })}=`,
      forged(byDate.name),
      forged(byDate.name, ''),
      forged(byDate.name, 'a', ''),
      forged(byDate.name, 'a', 'tomorrow'),
      forged(byDate.name, 'a', '-1'),
      forged(byDate.name, 'a', '1e3'),
      forged(byDate.name, 'a', '9999999999999999'),
      forged(byDate.name, 'a', '1', '2'),
    ]
    for (const text of texts) {
      const error = refusal(byDate, text)
      expect(error, text).toMatchObject({ code: 'INPUT_INVALID' })
      if (text !== '') expect(JSON.stringify(error)).not.toContain(text)
    }
    expect(refusal(byDate, forged(byDate.name, 'no-uuid', '1'), (id) => id.length === 36)).toMatchObject({
      code: 'INPUT_INVALID',
    })
  })

  test('any text is a cursor or INPUT_INVALID', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: 'binary' })), (text) => {
        const found = refusal(byDate, text)
        expect(found).toMatchObject({ code: 'INPUT_INVALID' })
      }),
    )
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ unit: 'binary' }), (id, value) => {
        fc.pre(!id.includes('\0'))
        expect(parseCursor(byName, toCursorText(byName, { id, value }))).toEqual({ id, value })
      }),
    )
  })
})
