import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isSameJson } from '../../src/domain/json-equality.ts'

const nested = (levels: number, innermost: string): unknown =>
  JSON.parse(`${'['.repeat(levels)}${innermost}${']'.repeat(levels)}`)

test('any two JSON values are equal exactly if Node finds them equal', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
      expect(isSameJson(one, other)).toBe(isDeepStrictEqual(one, other))
      expect(isSameJson(one, structuredClone(one))).toBe(true)
    }),
    { seed: 20_261_129 },
  )
})

test('the order of keys does not matter, missing keys and lists that look like objects do', () => {
  expect(isSameJson({ a: 1, b: 2 }, { b: 2, a: 1 })).toBe(true)
  expect(isSameJson({ a: undefined }, { b: undefined })).toBe(false)
  expect(isSameJson(['x'], { 0: 'x' })).toBe(false)
})

test('values of 100,000 levels are compared without overflowing the stack', () => {
  expect(isSameJson(nested(100_000, '1'), nested(100_000, '1'))).toBe(true)
  expect(isSameJson(nested(100_000, '1'), nested(100_000, '2'))).toBe(false)
})

test('dates are compared by their instant', () => {
  expect(isSameJson({ at: new Date(1) }, { at: new Date(1) })).toBe(true)
  expect(isSameJson({ at: new Date(1) }, { at: new Date(2) })).toBe(false)
})
