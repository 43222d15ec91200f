import * as z from 'zod'
import type { Attachment } from './thread.ts'

const name = z.string().min(1).max(500)
const mediaType = z.string().min(1).max(200)

/**
 * An attachment as callers give it: a text, bytes, the id of a stored file, or the id of a file that a vendor holds.
 * Without any of them only its name is kept.
 */
export const newAttachment = z
  .strictObject({
    /** File name for people. Default: that of the stored file. */
    name: name.optional(),
    /** Default: that of the stored file, or the type that the bytes show. */
    mediaType: mediaType.optional(),
    /** Text that models get as part of the prompt. */
    text: z.string().max(5_000_000).optional(),
    /** Bytes, which are stored; in code only. */
    data: z.custom<Uint8Array>((data) => data instanceof Uint8Array, 'expected the bytes as a Uint8Array').optional(),
    /** Id of a file of the user. */
    fileId: z.string().min(1).max(200).optional(),
    /** A file that was uploaded to a vendor; only models of that provider get it. */
    vendorFile: z.strictObject({ provider: z.string().min(1).max(200), id: z.string().min(1).max(500) }).optional(),
  })
  .superRefine((given, context) => {
    const contents = CONTENTS.filter((key) => given[key] !== undefined)
    const add = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    const [first, second] = contents
    if (first && second) add(second, `expected at most one of ${CONTENTS.join(', ')}, found ${first} too`)
    if (given.name === undefined && given.fileId === undefined) add('name', 'expected a name')
    const hasType = given.mediaType !== undefined || given.fileId !== undefined || given.data !== undefined
    if (!hasType) add('mediaType', 'expected a media type such as text/plain')
  })

const CONTENTS = ['text', 'data', 'fileId', 'vendorFile'] as const

export type NewAttachment = z.input<typeof newAttachment>

/** Attachments of one message or execution. */
export const MAX_ATTACHMENTS = 50

export const newAttachments = z.array(newAttachment).max(MAX_ATTACHMENTS, {
  error: ({ input }) => `expected at most ${MAX_ATTACHMENTS} attachments, found ${Array.isArray(input) ? input.length : 'more'}`,
})

/** Runs a write, and may run it again: the write of one file has no further effect the second time. */
export type RepeatWrite = <Value>(write: () => Promise<Value>) => Promise<Value>

/**
 * Stores the bytes of new attachments and resolves the ids of stored files, which get an entry of their own that is
 * deleted with the thread. Stored bytes are neither read nor copied. All are stored or none. Rejects with
 * FILE_NOT_FOUND, FILE_TOO_LARGE, and INPUT_INVALID for a file that claims to be text and is not.
 */
export type ResolveAttachments = (
  userId: string,
  threadId: string,
  given: readonly NewAttachment[],
  /** Default: each write runs once. */
  repeat?: RepeatWrite,
) => Promise<readonly Attachment[]>
