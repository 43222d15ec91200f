import * as z from 'zod'
import { type NewAttachment, newAttachment } from '../../../domain/users/new-attachment.ts'
import { refusal } from '../request-errors.ts'

const address = z.string().max(500_000_000)
const fileFields = {
  file_data: address.nullish(),
  filename: z.string().max(500).nullish(),
  file_id: z.string().max(200).nullish(),
}

/** The fields of parts that hold a file, of both APIs. */
export const filePartFields = {
  image_url: z.union([address, z.object({ url: address })]).nullish(),
  input_audio: z.object({ data: address, format: z.string().max(50) }).nullish(),
  file: z.object(fileFields).nullish(),
  file_url: address.nullish(),
  ...fileFields,
}

const filePart = z.object({ type: z.string(), ...filePartFields })
type FilePart = z.output<typeof filePart>

const FILE_TYPES: readonly string[] = ['image_url', 'input_image', 'file', 'input_file', 'input_audio']

export const isFilePart = (type: string): boolean => FILE_TYPES.includes(type)

/**
 * The file of a part, as bytes or by the id of a stored file. Throws INPUT_INVALID with the field for everything else:
 * no address in a message is ever fetched.
 */
export function toAttachment(part: FilePart, param: string): NewAttachment {
  const given = contentOf(part, param)
  const parsed = newAttachment.safeParse(given)
  if (parsed.success) return given
  throw refusal(param, `${param}: ${parsed.error.issues.map(({ message }) => message).join('; ')}`, 'invalid_value')
}

function contentOf(part: FilePart, param: string): NewAttachment {
  if (part.type === 'input_audio') return audioOf(part, param)
  const { file_id: fileId, file_data: data, filename } = part.file ?? part
  const url = typeof part.image_url === 'object' ? part.image_url?.url : part.image_url
  const isImage = part.type === 'image_url' || part.type === 'input_image'
  const text = isImage ? url : data
  if (fileId && text) throw refusal(param, `${param}: expected either bytes or file_id, found both`, 'invalid_value')
  if (fileId) return { fileId }
  if (text) return { name: filename ?? (isImage ? 'image' : 'file'), ...toBytes(text, param) }
  if (part.file_url) throw notFetched(param)
  const expected = isImage ? 'a data: URL with an image, or file_id' : 'file_data, or file_id'
  throw refusal(param, `${param}: expected ${expected} in a part of type "${part.type}", found none`, 'invalid_value')
}

function audioOf({ input_audio: audio }: FilePart, param: string): NewAttachment {
  if (!audio) throw refusal(param, `${param}: expected input_audio in a part of type "input_audio", found none`, 'invalid_value')
  const { format } = audio
  if (!/^[a-z0-9]{1,10}$/.test(format)) {
    throw refusal(`${param}.input_audio.format`, `${param}: expected a format such as wav or mp3`, 'invalid_value')
  }
  const mediaType = format === 'mp3' ? 'audio/mpeg' : `audio/${format}`
  return { name: `audio.${format}`, mediaType, data: toData(audio.data, param) }
}

/** `data:image/png;base64,…` or the base64 alone, which some clients send as `file_data`. */
const DATA_URL = /^data:([^;,]*)(?:;[^;,=]+=[^;,]*)*;base64,(.*)$/s

function toBytes(text: string, param: string): Pick<NewAttachment, 'mediaType' | 'data'> {
  const [, mediaType, base64] = DATA_URL.exec(text) ?? []
  if (base64 === undefined && /^[a-z][a-z0-9+.-]*:/i.test(text)) throw notFetched(param)
  return { ...(mediaType && { mediaType: mediaType.toLowerCase() }), data: toData(base64 ?? text, param) }
}

function toData(base64: string, param: string): Uint8Array {
  const compact = base64.replace(/\s/g, '')
  if (compact !== '' && /^[A-Za-z0-9+/]*={0,2}$/.test(compact)) return new Uint8Array(Buffer.from(compact, 'base64'))
  throw refusal(param, `${param}: expected bytes in base64, found other text`, 'invalid_value')
}

const notFetched = (param: string) =>
  refusal(
    param,
    `${param}: addresses are not supported, and nothing was fetched: send the bytes as a data: URL, or upload the file and give its file_id`,
    'unsupported_value',
  )
