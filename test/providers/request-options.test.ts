import { describe, expect, test } from 'vitest'
import type { ModelSettings } from '../../src/domain/execution/model-call.ts'
import { createRequestNotes } from '../../src/providers/vendor/request-notes.ts'
import { withOptions } from '../../src/providers/vendor/request-options.ts'
import { caught } from '../support/caught.ts'

const requestOf = (settings: ModelSettings, strict?: boolean) => ({ model: 'm', messages: [], settings, strict })
const owner = { id: 'desk', kind: 'openai' }

describe('withOptions', () => {
  test('returns the same body where neither step nor account has options', () => {
    const body = { model: 'm' }
    expect(withOptions(body, requestOf({}), owner)).toBe(body)
  })

  test('the options of the id come before those of the kind, and both before those of the account', () => {
    const options = { openai: { a: 'kind', b: 'kind' }, desk: { a: 'id' }, other: { d: 'other' } }
    const body = { a: 'body', b: 'body', c: 'body', e: 'body' }
    expect(
      withOptions(body, requestOf({ options }), { ...owner, options: { a: 'account', b: 'account', c: 'account' } }),
    ).toEqual({ a: 'id', b: 'kind', c: 'account', e: 'body' })
  })

  test('objects are merged at every depth, lists and other values are replaced, and nothing given is changed', () => {
    const body = { text: { format: { type: 'json_schema' }, kept: 1 }, include: ['a'] }
    const options = { openai: { text: { verbosity: 'low' }, include: ['b'], nothing: null } }
    expect(withOptions(body, requestOf({ options }), owner)).toEqual({
      text: { format: { type: 'json_schema' }, kept: 1, verbosity: 'low' },
      include: ['b'],
      nothing: null,
    })
    expect(body).toEqual({ text: { format: { type: 'json_schema' }, kept: 1 }, include: ['a'] })
  })

  test.each([
    ['model', { model: 'x' }],
    ['messages', { messages: [] }],
    ['input', { input: 'x' }],
    ['contents', { contents: [] }],
    ['system', { system: 'x' }],
    ['instructions', { instructions: 'x' }],
    ['stream', { stream: true }],
    ['stream_options', { stream_options: {} }],
    ['tools', { tools: [] }],
    ['tool_choice', { tool_choice: 'auto' }],
    ['store', { store: true }],
    ['response_format', { response_format: {} }],
    ['text.format', { text: { format: {} } }],
    ['generationConfig.responseJsonSchema', { generationConfig: { responseJsonSchema: {} } }],
    ['max_tokens', { max_tokens: 9 }],
    ['generation_config.max_output_tokens', { generation_config: { max_output_tokens: 9 } }],
    ['generationConfig._response_json_schema', { generationConfig: { _response_json_schema: {} } }],
    ['cached_content', { cached_content: 'x' }],
    ['systemInstruction', { systemInstruction: {} }],
    ['toolChoice', { toolChoice: 'none' }],
    ['n', { n: 3 }],
  ])('refuses %s by its path, wherever the options stand', (field, options) => {
    for (const [path, settings, given] of [
      ['settings.options.openai', { options: { openai: options } }, owner],
      ['settings.options.desk', { options: { desk: options } }, owner],
      ['providers.desk.options', {}, { ...owner, options }],
    ] as const) {
      expect(caught(() => withOptions({}, requestOf(settings), given))).toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining(`${path}.${field}: expected no field that Polyphony sets itself`),
        details: { provider: 'desk', option: `${path}.${field}` },
      })
    }
  })

  test('options named like a member of every object are not found', () => {
    const body = {}
    expect(withOptions(body, requestOf({ options: {} }), { id: 'constructor', kind: 'toString' })).toEqual({})
  })
})

describe('createRequestNotes', () => {
  test('a strict request is refused with everything that would be left out', () => {
    const notes = createRequestNotes()
    notes.leaveOut('temperature', 'm does not accept it')
    notes.add('maxTokens was raised to 16')
    notes.leaveOut('file "a.mp3"', 'm reads no audio')
    expect(notes.list()).toEqual([
      'temperature was left out: m does not accept it',
      'maxTokens was raised to 16',
      'file "a.mp3" was left out: m reads no audio',
    ])
    notes.checkStrict(requestOf({}), 'desk')
    expect(caught(() => notes.checkStrict(requestOf({}, true), 'desk'))).toMatchObject({
      code: 'PROVIDER_REJECTED',
      message: expect.stringMatching(/"desk".*temperature \(m does not accept it\); file "a\.mp3" \(m reads no audio\)/),
      details: { leftOut: ['temperature (m does not accept it)', 'file "a.mp3" (m reads no audio)'] },
    })
  })

  test('a strict request of which values were only changed is sent', () => {
    const notes = createRequestNotes()
    notes.add('maxTokens was raised to 16')
    notes.checkStrict(requestOf({}, true), 'desk')
    expect(notes.list()).toHaveLength(1)
  })
})
