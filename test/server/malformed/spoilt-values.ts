import fc from 'fast-check'
import { pathsOf, REMOVED, replaced } from '../../support/places.ts'

/** Text that trips programs. */
export const ODD_TEXTS: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  '\udc00x',
  '💥',
  '\u202e',
  '\r\nX-Injected: yes',
  '\u2028',
  'null',
  'true',
  'NaN',
  '-1',
  '1e999',
  '0x10',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  '{{ constructor }}',
  '{% for i in (1..100000000) %}x{% endfor %}',
  '{{',
  '{% if',
  '((',
  'steps["x"].output',
  '%',
  '%00',
  '%ff',
  "' or '1'='1",
  '"; drop table polyphony_threads; --',
  '$(jndi:ldap://x)',
  '../../etc/passwd',
  'file:///etc/passwd',
  '<script>alert(1)</script>',
  '(a+)+$',
  'a'.repeat(201),
  'a'.repeat(501),
  'ä'.repeat(5_000),
  'x'.repeat(100_000),
  '2026-13-45',
  '+275760-09-13T00:00:00.000Z',
  'COMPLETED',
]

const ODD_NUMBERS = [0, -0, -1, 1.5, 1e21, -1e21, 2 ** 31, 2 ** 53, 2 ** 63, 5e-324, 1e308]

/** Lists in lists, and objects in objects. */
const nested = (depth: number, inList: boolean): unknown => {
  let value: unknown = 'core'
  for (let level = 0; level < depth; level++) value = inList ? [value] : { a: value }
  return value
}

const odd = fc.oneof(
  fc.constantFrom<unknown>(...ODD_TEXTS, ...ODD_NUMBERS, null, true, false, [], {}, [[]], [null], [{}], REMOVED),
  fc.anything({ maxDepth: 2 }).filter((value) => toJson(value) !== undefined),
  fc
    .record({ depth: fc.constantFrom(10, 60, 300, 2_000), inList: fc.boolean() })
    .map(({ depth, inList }) => nested(depth, inList)),
  fc.integer({ min: 50, max: 3_000 }).map((length) => Array.from({ length }, (_, index) => ({ id: `s${index}` }))),
)

function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

const change = fc.record({
  place: fc.nat(),
  by: odd,
  unknownKey: fc.option(fc.constantFrom('x', 'userId', 'id', '$ref', 'constructor'), { freq: 5 }),
})

/** The value with one to three of its places spoilt. */
export function spoilt(value: unknown): fc.Arbitrary<unknown> {
  const paths = pathsOf(value)
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) =>
    changes.reduce<unknown>((whole, { place, by, unknownKey }) => {
      const path = paths[place % paths.length] ?? []
      const next = replaced(whole, unknownKey === null ? path : [...path, unknownKey], by)
      return next === REMOVED ? undefined : next
    }, value),
  )
}

/** JSON that is none, or that two readers read differently. */
export const oddJson = (value: unknown): fc.Arbitrary<Buffer> => {
  const text = JSON.stringify(value ?? {})
  const inserted = (piece: string) => Buffer.from(text.replace('{', `{${piece},`))
  return fc.oneof(
    fc.nat(text.length).map((end) => Buffer.from(text.slice(0, end))),
    fc.constantFrom(
      ...[
        '',
        ' ',
        'null',
        '1',
        '"x"',
        '[]',
        'true',
        '{}',
        '{}{}',
        '[',
        '{',
        '"',
        '\ufeff{}',
        'NaN',
        '{"a":NaN}',
        '{a:1}',
        "{'a':1}",
        '{"a":1,}',
      ].map((raw) => Buffer.from(raw)),
      inserted('"__proto__":{"isAdmin":true}'),
      inserted('"constructor":{"prototype":{"isAdmin":true}}'),
      inserted('"\\u005f\\u005fproto__":{"a":1}'),
      inserted('"a":1e999'),
      inserted('"a":"\\ud800"'),
      inserted('"\\u0000":"\\u0000"'),
      inserted('"threadId":"one","threadId":"two"'),
      inserted('"a":123456789012345678901234567890'),
      Buffer.from(`${'['.repeat(100_000)}`),
      Buffer.from(`${'['.repeat(20_000)}${']'.repeat(20_000)}`),
      Buffer.from(`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`),
      Buffer.from(text.replace('{', `{"metadata":${'['.repeat(5_000)}${']'.repeat(5_000)},`)),
      Buffer.from(text.replace('{', `{"definition":${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)},`)),
      Buffer.from(`{${Array.from({ length: 5_000 }, (_, index) => `"k${index}":${index}`).join()}}`),
      Buffer.concat([Buffer.from('{"title":"'), Buffer.from([0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80]), Buffer.from('"}')]),
      Buffer.from(text, 'utf16le'),
    ),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.record({ at: fc.nat(text.length), byte: fc.nat(255) }).map(({ at, byte }) => {
      const bytes = Buffer.from(text)
      bytes[at % bytes.length] = byte
      return bytes
    }),
  )
}
