import { expect, test } from 'vitest'
import { secretsOf } from '../../src/providers/adapter-settings.ts'
import { proxyToken } from '../../src/providers/transport/url-credentials.ts'

test.each([
  ['http://ada:p%40ss@proxy:80', 'ada:p@ss'],
  ['http://ada:100%@proxy:80', 'ada:100%'],
])('user and password of %s are sent as they were meant', (address, credentials) => {
  expect(proxyToken(new URL(address))).toBe(`Basic ${Buffer.from(credentials).toString('base64')}`)
})

test('an address without a user has no credentials', () => {
  expect(proxyToken(new URL('http://proxy:80'))).toBeUndefined()
})

test('a password with a percent sign that encodes nothing is a secret of its account', () => {
  expect(secretsOf({ proxy: 'http://ada:100%-secret@proxy:80' })).toContain('100%-secret')
})
