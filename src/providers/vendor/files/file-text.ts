import type { FilePart } from '../../../domain/execution/model-call.ts'

/** A text file within the text of a message, with its name at both ends. */
export const toFileText = ({ name }: Pick<FilePart, 'name'>, text: string): string => {
  const quoted = JSON.stringify(name)
  return `[file ${quoted}]\n${text}\n[end of file ${quoted}]`
}
