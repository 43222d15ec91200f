import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FilePart, ModelMessage } from '../../src/domain/execution/model-call.ts'
import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { recordOf } from '../../src/providers/vendor/foreign-json.ts'
import { chatWire, responsesWire } from '../support/openai-wires.ts'
import { createVendorServer, type VendorServer } from '../support/vendor-server.ts'

let server: VendorServer
beforeAll(async () => {
  server = await createVendorServer()
})
afterAll(() => server.close())

const account = () => ({ id: 'desk', vendor: 'openai', apiKey: 'k', baseUrl: `${server.url}/v1`, simulated: false })
const chat = () => createOpenAiProvider(account())
const responses = () => createOpenAiProvider({ ...account(), api: 'responses' })
const mistral = () => createOpenAiCompatibleProvider({ ...account(), preset: 'mistral' })
const deepseek = () => createOpenAiCompatibleProvider({ ...account(), preset: 'deepseek' })

const read: string[] = []
const fileOf = (name: string, mediaType: string, rest: Partial<FilePart> = {}): FilePart => ({
  name,
  mediaType,
  byteLength: 3,
  read: async () => {
    read.push(name)
    return Buffer.from('abc')
  },
  ...rest,
})
const DATA = Buffer.from('abc').toString('base64')
const [PDF, SOUND, TEXT, SHEET, IMAGE] = [
  fileOf('a.pdf', 'application/pdf'),
  fileOf('b.mp3', 'audio/mpeg'),
  fileOf('c.json', 'application/json'),
  fileOf('d.xlsx', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet'),
  fileOf('e.PNG', 'image/PNG'),
]
const HELD = fileOf('f.pdf', 'application/pdf', { vendorFileId: 'file-1' })

async function sent(provider: Provider, messages: readonly ModelMessage[], wire = chatWire) {
  read.length = 0
  server.answer(wire.whole('fine'))
  const { notes } = await provider.generate({ model: 'm', messages, settings: {} }, { signal: new AbortController().signal })
  const body = recordOf(server.requests.at(-1)?.body)
  return { items: body.messages ?? body.input, notes, read: [...read] }
}

const withFiles = (...files: readonly FilePart[]): readonly ModelMessage[] => [{ role: 'user', content: 'Read.', files }]

const HELD_IMAGE = fileOf('g.png', 'image/png', { vendorFileId: 'file-2' })
const HELD_TEXT = fileOf('h.txt', 'text/plain', { vendorFileId: 'file-3' })

describe('files that the vendor holds', () => {
  test('the Responses API gets each by its id, texts too', async () => {
    const { items, read } = await sent(await responses(), withFiles(HELD, HELD_IMAGE, HELD_TEXT), responsesWire)
    expect(items).toMatchObject([
      {
        content: [
          { type: 'input_text', text: 'Read.' },
          { type: 'input_file', file_id: 'file-1' },
          { type: 'input_image', file_id: 'file-2' },
          { type: 'input_file', file_id: 'file-3' },
        ],
      },
    ])
    expect(read).toEqual([])
  })

  test.each([HELD_IMAGE, HELD_TEXT])(
    'Chat Completions takes no $mediaType by its id, which is said before the request',
    async (file) => {
      const before = server.requests.length
      await expect(sent(await chat(), withFiles(file))).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining(`Expected the bytes of file "${file.name}" (${file.mediaType})`),
      })
      expect(server.requests).toHaveLength(before)
      expect(read).toEqual([])
    },
  )
})

describe('files of a message', () => {
  test('Chat Completions gets each in its own form, and those that it does not read are not even loaded', async () => {
    const { items, notes, read } = await sent(await chat(), withFiles(PDF, SOUND, TEXT, SHEET, IMAGE, HELD))
    expect(items).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Read.' },
          { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${DATA}` } },
          { type: 'input_audio', input_audio: { data: DATA, format: 'mp3' } },
          { type: 'text', text: '[file "c.json"]\nabc\n[end of file "c.json"]' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${DATA}` } },
          { type: 'file', file: { file_id: 'file-1' } },
        ],
      },
    ])
    expect(notes).toEqual([expect.stringMatching(/^file "d\.xlsx" was left out: the provider reads no application/)])
    expect(read).toEqual(['a.pdf', 'b.mp3', 'c.json', 'e.PNG'])
  })

  test('Responses gets each in its own form', async () => {
    const { items, notes } = await sent(await responses(), withFiles(PDF, SOUND, TEXT, SHEET, IMAGE, HELD), responsesWire)
    expect(items).toEqual([
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'Read.' },
          { type: 'input_file', filename: 'a.pdf', file_data: `data:application/pdf;base64,${DATA}` },
          { type: 'input_text', text: '[file "c.json"]\nabc\n[end of file "c.json"]' },
          { type: 'input_file', filename: 'd.xlsx', file_data: expect.stringContaining('spreadsheetml.sheet;base64,') },
          { type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${DATA}` },
          { type: 'input_file', file_id: 'file-1' },
        ],
      },
    ])
    expect(notes).toEqual([expect.stringContaining('file "b.mp3" was left out')])
  })

  test('a service that reads no files gets the text alone', async () => {
    const { items, notes, read } = await sent(await deepseek(), withFiles(IMAGE))
    expect(items).toEqual([{ role: 'user', content: 'Read.' }])
    expect(notes).toEqual([expect.stringContaining('file "e.PNG" was left out')])
    expect(read).toEqual([])
  })

  test('Mistral gets a PDF as the address of a document', async () => {
    const { items } = await sent(await mistral(), withFiles(PDF))
    expect(JSON.stringify(items)).toContain(`{"type":"document_url","document_url":"data:application/pdf;base64,${DATA}"`)
  })
})

describe('files of a tool result', () => {
  const history: readonly ModelMessage[] = [
    { role: 'user', content: 'Scan.' },
    {
      role: 'assistant',
      content: '',
      toolCalls: [
        { id: 'call_a', name: 'scan', arguments: '{}' },
        { id: 'call_b', name: 'scan', arguments: '{}' },
      ],
    },
    { role: 'tool', toolCallId: 'call_a', toolName: 'scan', content: 'one', files: [IMAGE, TEXT] },
    { role: 'tool', toolCallId: 'call_b', toolName: 'scan', content: 'two' },
  ]

  test('Chat Completions gets text in the result, and images in a message after all results', async () => {
    const { items } = await sent(await chat(), history)
    expect(Array.isArray(items) && items.slice(2)).toEqual([
      { role: 'tool', tool_call_id: 'call_a', content: 'one\n\n[file "c.json"]\nabc\n[end of file "c.json"]' },
      { role: 'tool', tool_call_id: 'call_b', content: 'two' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Files of the result of the tool scan:' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${DATA}` } },
        ],
      },
    ])
  })

  test('Responses gets all of them in the result', async () => {
    const { items } = await sent(await responses(), history, responsesWire)
    expect(Array.isArray(items) && items[3]).toEqual({
      type: 'function_call_output',
      call_id: 'call_a',
      output: [
        { type: 'input_text', text: 'one' },
        { type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${DATA}` },
        { type: 'input_text', text: '[file "c.json"]\nabc\n[end of file "c.json"]' },
      ],
    })
  })
})
