import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { decodeText } from '../../src/config/decode-text.ts'
import { parseDefinitionText } from '../../src/domain/definition/file.ts'

const options = { name: 'a file', code: 'CONFIG_INVALID' as const }
const utf16 = (text: string) => Buffer.from(text, 'utf16le')
const bigEndian = (text: string) => utf16(text).swap16()

describe('the text of a file', () => {
  test.each(['plain', '\ufeffmarked', 'ä漢\u{1f600}', '', 'a\0b'])(
    'in UTF-8 is decoded without its byte order mark: %j',
    (text) => {
      expect(decodeText(Buffer.from(text), options)).toBe(text.replace('\ufeff', ''))
    },
  )

  test.each([
    ['UTF-16 (little endian)', utf16('\ufeffkey: 1')],
    ['UTF-16 (big endian)', bigEndian('\ufeffkey: 1')],
    ['UTF-16 (little endian) without a byte order mark', utf16('key: 1')],
    ['UTF-16 (big endian) without a byte order mark', bigEndian('key: 1')],
    ['other bytes in line 2, perhaps Latin-1 or Windows-1252', Buffer.from('one\nzwölf\n', 'latin1')],
  ])('in %s is refused with what was found and what to do', (found, bytes) => {
    expect(() => decodeText(bytes, options)).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: `a file: expected UTF-8, found ${found}: save it as UTF-8` }),
    )
  })

  test('of a definition may start with a byte order mark, in JSON and in YAML', async () => {
    expect((await parseDefinitionText('\ufeff{"name":"a"}')).value).toEqual({ name: 'a' })
    expect((await parseDefinitionText('\ufeff{"name":"a"}', { format: 'json' })).value).toEqual({ name: 'a' })
    expect((await parseDefinitionText('\ufeffname: a', { format: 'yaml' })).value).toEqual({ name: 'a' })
  })
})

describe('configuration files', () => {
  let cwd: string
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'polyphony-config-'))
  })
  afterEach(() => rm(cwd, { recursive: true, force: true }))
  const load = () => loadConfig({}, { cwd, env: {} })

  test.each([
    ['.env', 'LOG_LEVEL=debug\r\nPOLYPHONY_PORT=1\r\n'],
    ['polyphony.yaml', 'logLevel: debug\r\nserver: { port: 1 }\r\n'],
    ['polyphony.yml', 'logLevel: debug\nserver:\n  port: 1\n'],
    ['polyphony.json', '{ "logLevel": "debug", "server": { "port": 1 } }'],
  ])('%s is read with a byte order mark and without, and refused in UTF-16', async (name, text) => {
    for (const start of ['', '\ufeff']) {
      await writeFile(join(cwd, name), start + text)
      expect(await load()).toMatchObject({ logLevel: 'debug', server: { port: 1 } })
    }
    await writeFile(join(cwd, name), utf16(text))
    await expect(load()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`${name}: expected UTF-8, found UTF-16`),
    })
  })

  test('in one directory are refused if there are two, with their names', async () => {
    await writeFile(join(cwd, 'polyphony.yaml'), 'logLevel: debug')
    await writeFile(join(cwd, 'polyphony.yml'), 'logLevel: info')
    await expect(load()).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(/yaml.*polyphony\.yml/) })
  })

  test('are refused with file, line, column and a suggestion for a mistyped key', async () => {
    await writeFile(join(cwd, 'polyphony.yml'), 'server:\n  hots: 127.0.0.1\nagent: 1\n')
    await expect(load()).rejects.toMatchObject({
      message: [
        'server.hots: expected a known key; did you mean "host"? (polyphony.yml:2:3)',
        'agent: expected a known key; did you mean "agents"? (polyphony.yml:3:1)',
      ].join('\n'),
    })
  })
})
