import { randomBytes } from 'node:crypto'
import { BadRequestError } from 'openai'
import { expect, test } from 'vitest'
import type { ModelRequest } from '../../../src/domain/execution/model-call.ts'
import { rejection } from '../../support/caught.ts'
import { runModelServer, TWO_STEPS, USER } from './model-server.ts'

const MODEL = 'flow/two steps'
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52])
const PDF = Buffer.from('%PDF-1.7\n1 0 obj\n<<>>\nendobj\n')
const url = `data:image/png;base64,${PNG.toString('base64')}`
const text = { type: 'text' as const, text: 'What is it?' }

async function server({ allowed = true } = {}) {
  const running = await runModelServer(() => 'an answer')
  await running.save(TWO_STEPS)
  if (allowed) await running.polyphony.dataSharing.set(USER, 'scripted', { allowAttachments: true })
  return running
}

const filesOf = (request: ModelRequest | undefined) =>
  (request?.messages ?? []).flatMap((message) => (message.role === 'user' ? (message.files ?? []) : []))

test('images, files and audio of a chat reach the model that reads the prompt, also those of earlier messages', async () => {
  const { openai, provider } = await server()
  await openai.chat.completions.create({
    model: MODEL,
    messages: [
      { role: 'user', content: [text, { type: 'image_url', image_url: { url } }] },
      { role: 'assistant', content: 'A picture.' },
      {
        role: 'user',
        content: [
          text,
          { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${PDF.toString('base64')}` } },
          { type: 'input_audio', input_audio: { data: PNG.toString('base64'), format: 'wav' } },
        ],
      },
    ],
  })
  const files = filesOf(provider.requests[0])
  expect(files.map(({ name, mediaType }) => [name, mediaType])).toEqual([
    ['image', 'image/png'],
    ['a.pdf', 'application/pdf'],
    ['audio.wav', 'audio/wav'],
  ])
  expect(Buffer.from((await files[1]?.read()) ?? [])).toEqual(PDF)
})

test('a request with an image alone is answered', async () => {
  const { openai, provider } = await server()
  const { choices } = await openai.chat.completions.create({
    model: MODEL,
    messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }],
  })
  expect(choices[0]?.message.content).toBe('an answer')
  expect(provider.requests[0]?.messages).toMatchObject([{ role: 'user', content: '', files: [{ mediaType: 'image/png' }] }])
})

test('images and files of a response reach the model, also by the id of a stored file', async () => {
  const { openai, polyphony, provider } = await server()
  const { id } = await polyphony.files.add(USER, { name: 'stored.png', data: PNG })
  await openai.responses.create({
    model: MODEL,
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is it?' },
          { type: 'input_image', image_url: url, detail: 'auto' },
          { type: 'input_image', file_id: id, detail: 'auto' },
          { type: 'input_file', filename: 'b.pdf', file_data: `data:application/pdf;base64,${PDF.toString('base64')}` },
        ],
      },
    ],
  })
  expect(filesOf(provider.requests[0]).map(({ name }) => name)).toEqual(['image', 'stored.png', 'b.pdf'])
})

test('a request with files is refused with the remedy where a provider may not see them', async () => {
  const { openai, provider } = await server({ allowed: false })
  const error = await rejection(
    openai.chat.completions.create({
      model: MODEL,
      messages: [{ role: 'user', content: [text, { type: 'image_url', image_url: { url } }] }],
    }),
  )
  expect(error).toMatchObject({ status: 403 })
  expect(String(error)).toContain('PUT /api/v1/data-sharing/scripted {"allowAttachments":true}')
  expect(provider.requests).toEqual([])
})

test.each([
  ['an address', { type: 'image_url' as const, image_url: { url: 'https://example.com/a.png' } }, 'unsupported_value'],
  ['text that is not base64', { type: 'file' as const, file: { file_data: 'data:application/pdf;base64,%%%' } }, 'invalid_value'],
  ['no content', { type: 'file' as const, file: {} }, 'invalid_value'],
  [
    'a strange format of audio',
    { type: 'input_audio' as const, input_audio: JSON.parse('{"data":"AAAA","format":"../x"}') },
    'invalid_value',
  ],
])('a part with %s is refused before anything is stored', async (_, part, code) => {
  const { openai, polyphony } = await server()
  const error = await rejection(
    openai.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content: [text, part] }] }),
  )
  expect(error).toBeInstanceOf(BadRequestError)
  expect(error).toMatchObject({ code })
  expect(String(Reflect.get(Object(error), 'param'))).toContain('messages[0].content[1]')
  expect(await polyphony.conversations.listThreads(USER)).toHaveLength(1)
})

test('the id of a file of another user is unknown', async () => {
  const { openai, polyphony } = await server()
  const { id } = await polyphony.files.add('somebody-else', { name: 'secret.png', data: PNG })
  const asked = openai.chat.completions.create({
    model: MODEL,
    messages: [{ role: 'user', content: [text, { type: 'file', file: { file_id: id } }] }],
  })
  expect(await rejection(asked)).toMatchObject({ status: 404 })
})

test('an image of 5 MB in a data: URL reaches the model, and one above the limit of files is refused', async () => {
  const { openai, provider } = await server()
  const ask = (data: Buffer) =>
    openai.chat.completions.create({
      model: MODEL,
      messages: [
        {
          role: 'user',
          content: [text, { type: 'image_url', image_url: { url: `data:image/png;base64,${data.toString('base64')}` } }],
        },
      ],
    })
  const image = Buffer.concat([PNG, randomBytes(5_000_000)])
  await ask(image)
  const [file] = filesOf(provider.requests[0])
  expect(Buffer.from((await file?.read()) ?? []).equals(image)).toBe(true)
  await openai.responses.create({
    model: MODEL,
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is it?' },
          { type: 'input_image', image_url: `data:image/png;base64,${image.toString('base64')}`, detail: 'auto' },
        ],
      },
    ],
  })
  expect(await rejection(ask(Buffer.alloc(20_000_001, 1)))).toMatchObject({ status: 413 })
  expect(await rejection(ask(Buffer.alloc(25_000_000, 1)))).toMatchObject({ status: 413 })
})

test('requests that cannot have files keep the ordinary limit', async () => {
  const { send, keyOf } = await server()
  const answer = await send('POST', '/api/v1/threads', { key: await keyOf(USER), body: { title: 'x'.repeat(3_000_000) } })
  expect([answer.status, answer.json.code]).toEqual([413, 'REQUEST_TOO_LARGE'])
})
