import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { FilePart, ModelRequest } from '../../src/domain/execution/model-call.ts'
import { filesOf, loadFiles, NO_LOADED_FILES } from '../../src/providers/vendor/loaded-files.ts'
import { rejection } from '../support/caught.ts'

const bytes = Buffer.from('Grüße')
const fileOf = (read: () => Promise<Uint8Array>, rest: Partial<FilePart> = {}): FilePart => ({
  name: 'greeting.txt',
  mediaType: 'text/plain',
  byteLength: bytes.length,
  read,
  ...rest,
})
const whole = async () => bytes
const quiet = new AbortController().signal
const requestOf = (messages: ModelRequest['messages']): ModelRequest => ({ model: 'm', messages, settings: {} })

describe('filesOf', () => {
  test('finds the files of users and of tool results in order', () => {
    const [a, b, c] = [fileOf(whole, { name: 'a' }), fileOf(whole, { name: 'b' }), fileOf(whole, { name: 'c' })]
    const request = requestOf([
      { role: 'user', content: 'look', files: [a, b] },
      { role: 'assistant', content: 'calling', toolCalls: [{ id: '1', name: 'scan', arguments: '{}' }] },
      { role: 'tool', toolCallId: '1', toolName: 'scan', content: 'scanned', files: [c] },
    ])
    expect(filesOf(request)).toEqual([a, b, c])
  })

  test('returns the same list for all requests without files', () => {
    expect(filesOf(requestOf([{ role: 'user', content: 'a' }]))).toBe(
      filesOf(requestOf([{ role: 'user', content: 'b', files: [] }])),
    )
  })
})

describe('loadFiles', () => {
  test('does not wait where there are no files', () => {
    expect(loadFiles([], quiet)).toBeUndefined()
  })

  test('gives the bytes as base64 and as text, also those of a view into a larger buffer', async () => {
    const larger = new Uint8Array(Buffer.concat([Buffer.from('..'), bytes, Buffer.from('..')]))
    const file = fileOf(async () => larger.subarray(2, 2 + bytes.length))
    const files = await loadFiles([file], quiet)
    expect(files?.base64(file)).toBe(bytes.toString('base64'))
    expect(files?.texts()).toEqual([])
    expect(files?.text(file)).toBe('Grüße')
    expect(files?.texts()).toEqual(['Grüße'])
  })

  test('reads the same content once, however often it is part of the request', async () => {
    let reads = 0
    const read = async () => {
      reads++
      return bytes
    }
    const first = fileOf(read, { sha256: 'abc' })
    const second = fileOf(read, { sha256: 'abc', name: 'copy.txt' })
    const files = await loadFiles([first, second, first], quiet)
    expect(reads).toBe(1)
    expect(files?.base64(second)).toBe(files?.base64(first))
  })

  test('rejects with the error of a file that is gone', async () => {
    const gone = new Error('gone')
    expect(await rejection(loadFiles([fileOf(whole), fileOf(() => Promise.reject(gone))], quiet) ?? Promise.resolve())).toBe(gone)
  })

  test('rejects at once when the signal aborts while a file is read, and leaves no listener', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const loading = loadFiles([fileOf(() => new Promise(() => undefined))], controller.signal)
    controller.abort(reason)
    expect(await rejection(loading ?? Promise.resolve())).toBe(reason)
    const calm = new AbortController()
    await loadFiles([fileOf(whole)], calm.signal)
    expect(getEventListeners(calm.signal, 'abort')).toEqual([])
  })

  test('reads nothing for a signal that is already aborted', async () => {
    let reads = 0
    const file = fileOf(async () => {
      reads++
      return bytes
    })
    const reason = new Error('too late')
    expect(await rejection(loadFiles([file], AbortSignal.abort(reason)) ?? Promise.resolve())).toBe(reason)
    expect(reads).toBe(0)
  })

  test('a file that was not read has no content', () => {
    expect(() => NO_LOADED_FILES.base64(fileOf(whole))).toThrow('was not read')
  })
})
