import * as z from 'zod'
import { id, instant, pageOf, queryInteger } from './instant.ts'

export const file = z.object({
  id: z.string(),
  name: z.string(),
  mediaType: z.string(),
  byteLength: z.number(),
  /** SHA-256 of the bytes in hexadecimal. */
  sha256: z.string(),
  createdAt: instant,
})
export const filePage = pageOf(file)

export const fileParams = z.object({ fileId: id })
export const fileListQuery = z.strictObject({
  limit: queryInteger(1, 1_000).optional(),
  cursor: z.string().max(1_000).optional(),
})
/** The bytes are the body of the request. */
export const newFileQuery = z.strictObject({
  name: z.string().min(1).max(500),
  /** Default: the type that the bytes show. */
  mediaType: z.string().min(1).max(200).optional(),
})

const vendorFile = z.strictObject({ provider: z.string().min(1).max(200), id: z.string().min(1).max(500) })

/** An attachment as it is stored: a text, a file, or a file that a vendor holds. */
export const attachment = z.object({
  name: z.string(),
  mediaType: z.string(),
  /** Text that was given as such; models get it as part of the prompt. */
  text: z.string().optional(),
  /** The stored bytes of a file, also of a text file, which `GET /files/{fileId}/content` returns. */
  file: z.object({ id: z.string(), byteLength: z.number(), sha256: z.string() }).optional(),
  vendorFile: z.object(vendorFile.shape).optional(),
})

/** An attachment as callers give it, with at most one of `text`, `fileId` and `vendorFile`. */
export const givenAttachment = z.strictObject({
  /** Required without `fileId`. */
  name: z.string().min(1).max(500).optional(),
  /** Required without `fileId`. */
  mediaType: z.string().min(1).max(200).optional(),
  text: z.string().max(5_000_000).optional(),
  /** Id of a file that was uploaded before. */
  fileId: id.optional(),
  vendorFile: vendorFile.optional(),
})
