import { Buffer } from 'node:buffer'
import type { FilePart } from '../../domain/execution/model-call.ts'
import { vendorFileRefused } from '../vendor/loaded-files.ts'

/** The model for which files are written. */
export interface FileTarget {
  /** Version of its specification: `v2`, `v3` or `v4`. */
  readonly version: string
  /** Name by which the AI SDK knows its vendor, such as `openai`. */
  readonly vendor: string
}

/**
 * A file of the user. Specification 4 tags its data, and takes one that the vendor holds by its id; those before it
 * take bytes only. Rejects with PROVIDER_REJECTED for a file of which they would need the bytes.
 */
export async function toUserFile(file: FilePart, target: FileTarget): Promise<object> {
  const { name: filename, mediaType } = file
  const data = target.version === 'v4' ? await toTaggedData(file, target) : await bytesOf(file)
  return { type: 'file', filename, mediaType, data }
}

/** A file of the result of a tool. */
export async function toResultFile(file: FilePart, target: FileTarget): Promise<object> {
  const { name: filename, mediaType, vendorFileId } = file
  if (target.version === 'v4') return { type: 'file', filename, mediaType, data: await toTaggedData(file, target) }
  if (target.version === 'v3' && vendorFileId !== undefined) return { type: 'file-id', fileId: vendorFileId }
  const data = Buffer.from(await bytesOf(file)).toString('base64')
  return target.version === 'v3' ? { type: 'file-data', filename, mediaType, data } : { type: 'media', mediaType, data }
}

async function toTaggedData(file: FilePart, { vendor }: FileTarget): Promise<object> {
  const { vendorFileId } = file
  if (vendorFileId !== undefined) return { type: 'reference', reference: { [vendor]: vendorFileId } }
  return { type: 'data', data: await bytesOf(file) }
}

async function bytesOf(file: FilePart): Promise<Uint8Array> {
  if (file.vendorFileId !== undefined) throw vendorFileRefused(file)
  return new Uint8Array(Buffer.from(await file.read()))
}
