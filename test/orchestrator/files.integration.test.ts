import { describe, expect, test } from 'vitest'
import type { GeneratedFile, ModelMessage, ModelRequest } from '../../src/domain/execution/model-call.ts'
import type { NewAttachment } from '../../src/domain/users/new-attachment.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52])
const definition = (model = 'one/m') => ({
  name: 'look',
  type: 'sequential' as const,
  steps: [{ id: 'look', model, action: 'generate' as const, prompt: 'original' }],
})

/** Every request is kept, and answered. */
function recorder(id: string) {
  const requests: ModelRequest[] = []
  const replies = (request: ModelRequest) => {
    requests.push(request)
    return { text: `answer ${requests.length}` }
  }
  return { requests, provider: createScriptedProvider({ id, replies }) }
}

/** Answers as the recorder does, with a file that it made. */
function making(file: GeneratedFile) {
  const { provider } = recorder('one')
  const generate: typeof provider.generate = async (...given) => ({ ...(await provider.generate(...given)), files: [file] })
  return { ...provider, generate }
}

/** Runs a step that makes the file, and one that takes its output; resolves with what the second one was asked. */
async function handOn(file: GeneratedFile) {
  const reader = recorder('two')
  const polyphony = await openTestPolyphony({ providers: { one: making(file), two: reader.provider } })
  const { orchestrator, conversations, dataSharing } = polyphony
  await dataSharing.set(USER, 'two', { allowCrossProviderContext: true })
  const { id } = await conversations.createThread(USER)
  const flow = await orchestrator.createFlow(id, USER, {
    name: 'make',
    type: 'sequential',
    steps: [
      { id: 'make', model: 'one/m', action: 'generate', prompt: 'original' },
      { id: 'take', model: 'two/m', action: 'analyze', inputFrom: 'make' },
    ],
  })
  const { steps } = await orchestrator.executeFlow(flow.id, USER, { input: 'The port' })
  return { polyphony, steps, flowId: flow.id, asked: reader.requests[0] }
}

async function open(given: { readonly allowAttachments?: boolean } = {}) {
  const [one, two] = [recorder('one'), recorder('two')]
  const polyphony = await openTestPolyphony({ providers: { one: one.provider, two: two.provider } })
  if (given.allowAttachments !== false) await polyphony.dataSharing.set(USER, 'one', { allowAttachments: true })
  const { id: threadId } = await polyphony.conversations.createThread(USER)
  return { ...polyphony, polyphony, threadId, one, two }
}

const filesOf = (request: ModelRequest | undefined) => {
  const last: ModelMessage | undefined = request?.messages.at(-1)
  return last?.role === 'user' ? (last.files ?? []) : []
}

describe('files of the prompt', () => {
  test('a file of an execution reaches the model with its name, type, size and bytes', async () => {
    const { orchestrator, threadId, one } = await open()
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(flow.id, USER, { input: 'What is it?', attachments: [{ name: 'photo.png', data: PNG }] })
    const [file] = filesOf(one.requests[0])
    expect(file).toMatchObject({ name: 'photo.png', mediaType: 'image/png', byteLength: PNG.length })
    expect(file && new Uint8Array(await file.read())).toEqual(PNG)
  })

  test('a file of a message reaches the model, and an input of its own leaves it out', async () => {
    const { orchestrator, conversations, threadId, one } = await open()
    const attachments = [{ name: 'photo.png', data: PNG }]
    await conversations.addMessage(threadId, USER, { role: 'user', content: 'What is it?', attachments })
    const first = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(first.id, USER)
    const second = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(second.id, USER, { input: 'Something else' })
    expect(one.requests.map((request) => filesOf(request).length)).toEqual([1, 0])
  })

  test('messages that are added together store the files of all of them, or none', async () => {
    const { conversations, files, threadId } = await open()
    const message = (...attachments: NewAttachment[]) => ({ role: 'user' as const, content: 'x', attachments })
    const [photo, note] = [
      { name: 'photo.png', data: PNG },
      { name: 'note', mediaType: 'text/plain', text: 'x' },
    ]
    const refused = conversations.addMessages(threadId, USER, [message(photo), message(photo, photo, { fileId: 'nothing' })])
    expect(await rejection(refused)).toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect((await files.list(USER)).files).toEqual([])
    const added = await conversations.addMessages(threadId, USER, [message(photo, note), message(), message(note)])
    expect(added.map(({ attachments }) => attachments?.map(({ name }) => name))).toEqual([['photo.png', 'note'], [], ['note']])
  })

  test('a message that is added again by its id stores nothing further', async () => {
    const { conversations, files, threadId } = await open()
    const attachments = [{ name: 'photo.png', data: PNG }]
    const add = () => conversations.addMessage(threadId, USER, { role: 'user', content: 'x', attachments }, { id: 'one' })
    const first = await add()
    expect(await add()).toEqual(first)
    expect((await files.list(USER)).files).toHaveLength(1)
  })

  test('a file that its user removed is sent to nobody, also while another user has the same bytes', async () => {
    const { orchestrator, conversations, files, threadId, one } = await open()
    await files.add('bob', { name: 'mine.png', data: PNG })
    const attachments = [{ name: 'photo.png', data: PNG }]
    const message = await conversations.addMessage(threadId, USER, { role: 'user', content: 'What is it?', attachments })
    await files.remove(message.attachments?.[0]?.file?.id ?? '', USER)
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(flow.id, USER)
    const [file] = filesOf(one.requests[0])
    expect(await rejection(file?.read() ?? Promise.resolve())).toMatchObject({ code: 'FILE_NOT_FOUND' })
  })

  test('without the permission of the user the file is withheld and the flow goes on', async () => {
    const { orchestrator, threadId, one } = await open({ allowAttachments: false })
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    const { steps } = await orchestrator.executeFlow(flow.id, USER, {
      input: 'What is it?',
      attachments: [{ name: 'photo.png', data: PNG }],
    })
    expect(filesOf(one.requests[0])).toEqual([])
    expect(steps[0]?.withheld).toMatchObject([{ kind: 'attachment', piece: 'photo.png', to: 'one', allowed: false }])
  })

  test('a file that a vendor holds goes to its own provider alone', async () => {
    const { orchestrator, dataSharing, threadId, one, two } = await open()
    await dataSharing.set(USER, 'two', { allowAttachments: true })
    const attachments = [{ name: 'a.pdf', mediaType: 'application/pdf', vendorFile: { provider: 'one', id: 'file-1' } }]
    for (const model of ['one/m', 'two/m']) {
      const flow = await orchestrator.createFlow(threadId, USER, definition(model))
      const { steps } = await orchestrator.executeFlow(flow.id, USER, { input: 'Read it', attachments })
      if (model === 'two/m') expect(steps[0]?.notes).toContain('"a.pdf" was not sent: one holds it, and two cannot read it')
    }
    expect(filesOf(one.requests[0])).toMatchObject([{ vendorFileId: 'file-1' }])
    expect(filesOf(two.requests[0])).toEqual([])
  })

  test('limits count the tokens of a file before it is sent', async () => {
    const { orchestrator, threadId, one } = await open()
    const limited = { ...definition(), limits: { maxTokens: 2_000 } }
    const [step] = limited.steps
    const steps = step ? [{ ...step, settings: { maxTokens: 100 } }] : []
    const plain = await orchestrator.createFlow(threadId, USER, { ...limited, steps })
    await orchestrator.executeFlow(plain.id, USER, { input: 'What is it?' })
    const flow = await orchestrator.createFlow(threadId, USER, { ...limited, steps })
    const attachments = [{ name: 'photo.png', data: PNG }]
    const error = await rejection(orchestrator.executeFlow(flow.id, USER, { input: 'What is it?', attachments }))
    expect(error).toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(one.requests).toHaveLength(1)
  })

  test('a rerun and a resumed flow send the same file again', async () => {
    const { orchestrator, threadId, one } = await open()
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(flow.id, USER, { input: 'What is it?', attachments: [{ name: 'photo.png', data: PNG }] })
    const rerun = await orchestrator.rerunFlow(flow.id, USER)
    await orchestrator.executeFlow(rerun.id, USER)
    expect(one.requests.map((request) => filesOf(request)[0]?.sha256)).toEqual([
      filesOf(one.requests[0])[0]?.sha256,
      filesOf(one.requests[0])[0]?.sha256,
    ])
  })

  test('a flow with recorded results does not resume with other files', async () => {
    let fails = true
    const provider = createScriptedProvider({
      id: 'one',
      replies: ({ messages }) => {
        if (fails && messages.some(({ content }) => content.includes('second'))) throw new Error('down')
        return { text: 'fine' }
      },
    })
    const { orchestrator, conversations, files } = await openTestPolyphony({ providers: { one: provider } })
    const { id } = await conversations.createThread(USER)
    const flow = await orchestrator.createFlow(id, USER, {
      name: 'two steps',
      type: 'sequential',
      steps: [
        { id: 'first', model: 'one/m', action: 'generate', prompt: 'original' },
        { id: 'second', model: 'one/m', action: 'generate', prompt: 'second', retryOnFailure: false },
      ],
    })
    const run = (data: Uint8Array) => orchestrator.executeFlow(flow.id, USER, { input: 'x', attachments: [{ name: 'a', data }] })
    await rejection(run(PNG))
    fails = false
    expect(await rejection(run(Uint8Array.from([0, 255, 1])))).toMatchObject({
      code: 'INPUT_INVALID',
      details: { option: 'attachments' },
    })
    await run(PNG)
    expect((await files.list(USER)).files.length).toBeGreaterThan(1)
  })

  test('an image that a model makes is kept as a file of its result, and reaches the step that takes the output', async () => {
    const { polyphony, steps, flowId, asked } = await handOn({ name: 'painting.png', mediaType: 'image/png', data: PNG })
    expect(steps[0]?.files).toMatchObject([{ name: 'painting.png', mediaType: 'image/png' }])
    expect(new Uint8Array(await polyphony.files.read(steps[0]?.files?.[0]?.file?.id ?? '', USER))).toEqual(PNG)
    const [seen] = filesOf(asked)
    expect(seen && new Uint8Array(await seen.read())).toEqual(PNG)
    const stored = await polyphony.orchestrator.getFlow(flowId, USER)
    expect(stored.stepResults[0]?.files).toEqual(steps[0]?.files)
  })

  test('an image that exceeds the limits of its user is a note, and the answer stays', async () => {
    const painter = making({ name: 'painting.png', mediaType: 'image/png', data: PNG })
    const { orchestrator, conversations } = await openTestPolyphony({ providers: { one: painter }, files: { maxBytes: 4 } })
    const { id } = await conversations.createThread(USER)
    const flow = await orchestrator.createFlow(id, USER, definition())
    const { steps, finalOutput } = await orchestrator.executeFlow(flow.id, USER, { input: 'A boat' })
    expect(finalOutput).toBe('answer 1')
    expect(steps[0]?.notes.join()).toContain('"painting.png" was not kept (FILE_TOO_LARGE)')
  })

  test('a text that a model makes reaches the step that takes the output, fenced in its prompt', async () => {
    const data = new TextEncoder().encode('port,depth\nRiga,9')
    const { steps, asked } = await handOn({ name: 'table.csv', mediaType: 'text/csv', data })
    expect(steps[0]?.files).toMatchObject([{ name: 'table.csv', mediaType: 'text/csv', file: { byteLength: 17 } }])
    const prompt = asked?.messages.at(-1)?.content
    expect(prompt).toContain('table.csv')
    expect(prompt).toContain('port,depth\nRiga,9')
  })

  test('a text file is stored once, and reaches every request of message, flow and rerun as text', async () => {
    const { orchestrator, conversations, threadId, one } = await open()
    const attachments = [{ name: 'note.txt', data: new TextEncoder().encode('Rain at noon.') }]
    const message = await conversations.addMessage(threadId, USER, { role: 'user', content: 'When?', attachments })
    expect(message.attachments).toEqual([
      { name: 'note.txt', mediaType: 'text/plain', file: expect.objectContaining({ byteLength: 13 }) },
    ])
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(flow.id, USER)
    const rerun = await orchestrator.rerunFlow(flow.id, USER)
    await orchestrator.executeFlow(rerun.id, USER)
    expect((await orchestrator.getFlow(rerun.id, USER)).attachments).toEqual(message.attachments)
    expect(one.requests).toHaveLength(2)
    for (const request of one.requests) {
      expect(request.messages.at(-1)?.content).toContain('Rain at noon.')
      expect(filesOf(request)).toEqual([])
    }
  })

  test('a file that is attached twice is sent once', async () => {
    const { orchestrator, files, threadId, one } = await open()
    const { id: fileId } = await files.add(USER, { name: 'photo.png', data: PNG })
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    await orchestrator.executeFlow(flow.id, USER, { input: 'What is it?', attachments: [{ fileId }, { fileId }] })
    expect(filesOf(one.requests[0])).toHaveLength(1)
  })

  test('more than 50 attachments are refused with their number', async () => {
    const { orchestrator, conversations, threadId } = await open()
    const attachments = Array.from({ length: 51 }, () => ({ name: 'a', mediaType: 'text/plain', text: 'x' }))
    const flow = await orchestrator.createFlow(threadId, USER, definition())
    for (const answer of [
      orchestrator.executeFlow(flow.id, USER, { input: 'x', attachments }),
      conversations.addMessage(threadId, USER, { role: 'user', content: 'x', attachments }),
    ]) {
      expect(await rejection(answer)).toMatchObject({
        code: 'INPUT_INVALID',
        message: expect.stringContaining('expected at most 50 attachments, found 51'),
      })
    }
  })

  test('a prompt may consist of a file alone', async () => {
    const { orchestrator, conversations, threadId, one } = await open()
    await conversations.addMessage(threadId, USER, { role: 'user', content: '', attachments: [{ name: 'a.png', data: PNG }] })
    const flow = await orchestrator.createFlow(threadId, USER, {
      ...definition(),
      steps: [{ id: 'look', model: 'one/m', action: 'generate', prompt: 'Describe it.' }],
    })
    await orchestrator.executeFlow(flow.id, USER)
    expect(filesOf(one.requests[0])).toHaveLength(1)
  })
})
