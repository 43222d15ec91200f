import { expect, test } from 'vitest'
import { toCommand } from '../../src/cli/commands/demo.ts'
import { toWidth, wrapText } from '../../src/cli/plain-text.ts'

test.each([
  ['one two three four', 'one two\nthree four'],
  ['  - a list item', '  - a list\nitem'],
  ['a\n\nb', 'a\n\nb'],
  ['abcdefghijklm', 'abcdefghij\nklm'],
  ['漢字漢字漢字漢', '漢字漢字漢\n字漢'],
  ['\u{1f468}\u200d\u{1f469}\u200d\u{1f467} family of 3', '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}\nfamily of\n3'],
])('an answer is broken between words, never within a character: %j', (text, wrapped) => {
  expect(wrapText(text, 10)).toBe(wrapped)
  for (const line of wrapped.split('\n')) expect(toWidth(line)).toBeLessThanOrEqual(10)
})

test.each([
  ['polyphony', {}, '/usr/lib/node_modules/polyphony/dist/src/cli/main.js'],
  ['npx polyphony', { npm_lifecycle_event: 'npx', npm_package_name: 'shop', npm_config_user_agent: 'npm/10' }, ''],
  ['npx polyphony', { npm_lifecycle_event: 'demo', npm_package_name: 'shop', npm_config_user_agent: 'npm/10' }, ''],
  [
    'npm run -s polyphony --',
    { npm_lifecycle_event: 'demo', npm_package_name: 'polyphony', npm_config_user_agent: 'npm/10' },
    '',
  ],
  ['pnpm polyphony', { npm_config_user_agent: 'pnpm/10.1' }, '/shop/node_modules/polyphony/dist/src/cli/main.js'],
  ['pnpm dlx polyphony', { npm_config_user_agent: 'pnpm/10.1' }, '/cache/pnpm/dlx/a1/node_modules/polyphony/main.js'],
  ['yarn dlx polyphony', { npm_config_user_agent: 'yarn/4.1' }, '/tmp/dlx-81/node_modules/polyphony/main.js'],
])('the demo prints commands that work where it was called: %s', (command, environment, program) => {
  expect(toCommand(environment, program)).toBe(command)
})
