import { expect, test } from 'vitest'
import { toApiRoot } from '../../src/providers/vendor/api-root.ts'

test.each([
  ['openai', 'http://a:1/v1', 'http://a:1/v1'],
  ['openai', 'http://a:1/v1/', 'http://a:1/v1'],
  ['openai', 'http://a:1/v1/v1', 'http://a:1/v1'],
  ['openai', 'http://a:1/v1/v1//', 'http://a:1/v1'],
  ['openai', 'http://a:1/api/v1/chat/completions', 'http://a:1/api/v1'],
  ['openai', 'http://a:1/v1/responses/', 'http://a:1/v1'],
  ['openai', 'http://a:1/v1/v1/chat/completions', 'http://a:1/v1'],
  ['openai', 'http://a:1/models', 'http://a:1/models'],
  ['openai', 'http://a:1', 'http://a:1'],
  ['openai', 'http://a:1/v1/v10', 'http://a:1/v1/v10'],
  ['anthropic', 'http://a:1', 'http://a:1'],
  ['anthropic', 'http://a:1/v1', 'http://a:1'],
  ['anthropic', 'http://a:1/proxy/v1/messages', 'http://a:1/proxy'],
  ['anthropic', 'http://a:1/v1/v1/', 'http://a:1'],
  ['google', 'http://a:1', 'http://a:1/v1beta'],
  ['google', 'http://a:1/v1/', 'http://a:1/v1'],
  ['google', 'http://a:1/v1beta/v1beta', 'http://a:1/v1beta'],
  ['google', 'http://a:1/v1beta/models/gemini-x:generateContent', 'http://a:1/v1beta'],
] as const)('the base URL of %s, given as %s, is %s', (api, given, expected) => {
  expect(toApiRoot(given, api)).toBe(expected)
})
