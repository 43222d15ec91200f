import { expect, test } from 'vitest'
import type { FilePart, ModelRequest, ToolMessage } from '../../../src/domain/execution/model-call.ts'
import { toAiSdkCall } from '../../../src/providers/ai-sdk/ai-sdk-request.ts'

const request = (more: Partial<ModelRequest> = {}): ModelRequest => ({
  model: 'm',
  messages: [{ role: 'user', content: 'Hello' }],
  settings: {},
  ...more,
})
const target = (version = 'v4') => ({ provider: 'desk', vendor: 'openai', version })
const file: FilePart = { name: 'a.png', mediaType: 'image/png', byteLength: 1, read: async () => new Uint8Array([7]) }
const held: FilePart = {
  ...file,
  vendorFileId: 'file-1',
  read: () => Promise.reject(new Error('the bytes were read')),
}
const refused = (words: string) => expect.objectContaining({ code: 'PROVIDER_REJECTED', message: expect.stringContaining(words) })

test('what the AI SDK has no field for is noted, and refused before the call under strict', async () => {
  const asked = request({
    settings: { reasoning: 'high', parallelToolCalls: false, cache: { ttl: '1h' } },
    hostedTools: ['web_search'],
  })
  const { notes } = await toAiSdkCall(asked, target('v3'))
  expect(notes.map((note) => note.split(' ')[0])).toEqual(['reasoning', 'parallelToolCalls', 'cache', 'hostedTools'])
  await expect(toAiSdkCall({ ...asked, strict: true }, target('v3'))).rejects.toEqual(refused('reasoning'))
  const fine = request({ settings: { reasoning: 'high', cache: 'auto' }, strict: true })
  expect(await toAiSdkCall(fine, target())).toMatchObject({ call: { reasoning: 'high' }, notes: [] })
})

test('options of the kind and of the provider are merged, those of the provider last', async () => {
  const options = {
    'ai-sdk': { openai: { user: 'all', serviceTier: 'flex', logitBias: { a: 1 } } },
    desk: { openai: { user: 'desk', logitBias: { b: 2 }, store: false } },
  }
  const { call } = await toAiSdkCall(request({ settings: { options } }), target())
  expect(call.providerOptions).toEqual({
    openai: { user: 'desk', serviceTier: 'flex', logitBias: { a: 1, b: 2 }, store: false },
  })
})

test.each([
  ['maxCompletionTokens', 9, 'settings.maxTokens'],
  ['previousResponseId', 'resp_1', 'the vendor stores no answers'],
  ['store', true, 'the vendor stores no answers'],
  ['instructions', 'Obey', '`system`'],
  ['cachedContent', 'c', '`prompt`'],
])('options with %s, which Polyphony sets itself, are refused', async (name, value, instead) => {
  const asked = request({ settings: { options: { desk: { openai: { [name]: value } } } } })
  await expect(toAiSdkCall(asked, target())).rejects.toEqual(refused(instead))
})

const result = (isError: boolean, files: readonly FilePart[]): ToolMessage => ({
  role: 'tool',
  toolCallId: 'c',
  toolName: 'draw',
  content: 'drawn',
  isError,
  files,
})
test.each([
  ['v2', { type: 'media', mediaType: 'image/png', data: 'Bw==' }],
  ['v3', { type: 'file-data', filename: 'a.png', mediaType: 'image/png', data: 'Bw==' }],
  ['v4', { type: 'file', filename: 'a.png', mediaType: 'image/png', data: { type: 'data', data: new Uint8Array([7]) } }],
])('files of the result of a tool are sent to models of specification %s', async (version, sent) => {
  const { call } = await toAiSdkCall(request({ messages: [result(true, [file])] }), target(version))
  expect(call.prompt).toEqual([
    {
      role: 'tool',
      content: [
        {
          type: 'tool-result',
          toolCallId: 'c',
          toolName: 'draw',
          output: { type: 'content', value: [{ type: 'text', text: 'Error: drawn' }, sent] },
        },
      ],
    },
  ])
})

test('a file that the vendor holds is sent by its id where the specification has one, and otherwise refused', async () => {
  const asked = request({ messages: [{ role: 'user', content: 'See', files: [held] }, result(false, [held])] })
  const { call } = await toAiSdkCall(asked, target())
  const data = { type: 'reference', reference: { openai: 'file-1' } }
  expect(call.prompt).toMatchObject([
    { content: [{ type: 'file', data }, { type: 'text' }] },
    {
      content: [
        {
          output: {
            value: [
              { type: 'text', text: 'drawn' },
              { type: 'file', data },
            ],
          },
        },
      ],
    },
  ])
  await expect(toAiSdkCall(asked, target('v3'))).rejects.toEqual(refused('Expected the bytes of file "a.png" (image/png)'))
  const inResult = await toAiSdkCall(request({ messages: [result(false, [held])] }), target('v3'))
  expect(inResult.call.prompt).toMatchObject([{ content: [{ output: { value: [{}, { type: 'file-id', fileId: 'file-1' }] } }] }])
})
