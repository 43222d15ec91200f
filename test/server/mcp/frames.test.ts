import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { readFrames } from '../../../src/server/mcp/read-frames.ts'

const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'

/** What is handed on, and what is answered, of an input that comes in these pieces. */
async function feed(...pieces: readonly (string | Buffer)[]) {
  const input = new PassThrough()
  const output = new PassThrough()
  const warnings: string[] = []
  const frames = readFrames(input, output, (text) => warnings.push(text))
  for (const piece of pieces) input.write(piece)
  input.end()
  const passed = Buffer.concat(await frames.toArray()).toString('utf8')
  output.end()
  const answered = Buffer.concat(await output.toArray()).toString('utf8')
  const lines = (text: string) => text.split('\n').filter((line) => line !== '')
  return { passed: lines(passed), answers: lines(answered).map((line) => JSON.parse(line)), warnings }
}

const refusedAs = (code: number, id: unknown = null) => ({
  jsonrpc: '2.0',
  id,
  error: { code, message: expect.any(String) },
})

test.each([
  ['no JSON', 'not json', -32_700, null],
  ['JSON that breaks off', '{"jsonrpc":"2.0",', -32_700, null],
  ['NUL', '\0', -32_700, null],
  ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0x22]), -32_700, null],
  ['text', '"ping"', -32_600, null],
  ['a number', '42', -32_600, null],
  ['null', 'null', -32_600, null],
  ['a batch', `[${PING}]`, -32_600, null],
  ['an empty batch', '[]', -32_600, null],
  ['an empty object', '{}', -32_600, null],
  ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}', -32_600, 1],
  ['no version', '{"id":1,"method":"ping"}', -32_600, 1],
  ['no method', '{"jsonrpc":"2.0","id":1}', -32_600, null],
  ['a method that is no text', '{"jsonrpc":"2.0","id":1,"method":1}', -32_600, 1],
  ['params in a list', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32_600, 1],
  ['an id that is none', '{"jsonrpc":"2.0","id":{},"method":"ping"}', -32_600, null],
])('%s is answered with an error, and the next message is read', async (_, frame, code, id) => {
  const { passed, answers, warnings } = await feed(frame, '\n', `${PING}\n`)
  expect(answers).toEqual([refusedAs(code, id)])
  expect(passed).toEqual([PING])
  expect(warnings).toHaveLength(1)
  expect(warnings[0]).not.toContain('ping')
})

test.each([
  ['another version', '{"jsonrpc":"1.0","id":7,"method":"say"}', 7],
  ['params in a list', '{"jsonrpc":"2.0","id":"a","method":"say","params":[]}', 'a'],
  ['no method, so that it may be an answer', '{"jsonrpc":"2.0","id":7}', null],
  ['an id that is none', '{"jsonrpc":"2.0","id":1.5,"method":"say"}', null],
])('a refused request is answered under its own id, which its client waits for: %s', async (_, frame, id) => {
  expect((await feed(frame)).answers).toEqual([refusedAs(-32_600, id)])
})

test('a line that is too long is refused at its end without being buffered', async () => {
  const piece = Buffer.alloc(1_048_576, 'x')
  const { passed, answers } = await feed(...Array.from({ length: 17 }, () => piece), '\n', `${PING}\n`)
  expect(answers).toEqual([refusedAs(-32_600)])
  expect(passed).toEqual([PING])
})

test('a byte order mark, CRLF, empty lines and cuts within a character are handled', async () => {
  const text = '{"jsonrpc":"2.0","method":"say","params":{"text":"é"}}'
  const bytes = Buffer.from(`\ufeff${PING}\r\n\r\n \n${text}\r\n{"jsonrpc":"2.0","id":"a","result":{}}`)
  const { passed, answers } = await feed(...Array.from(bytes, (byte) => Buffer.from([byte])))
  expect(passed).toEqual([PING, text, '{"jsonrpc":"2.0","id":"a","result":{}}'])
  expect(answers).toEqual([])
})
