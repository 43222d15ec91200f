import {
  messageId,
  type ResponseCall,
  type ResponseKey,
  type ResponseMessage,
  type ResponseObject,
  type ResponsePart,
  textPart,
  toMessage,
} from './response-object.ts'

/** Formats the events of a streamed response, numbered from 0. */
export function createResponseEvents(open: ResponseObject, key: ResponseKey) {
  let sequence = 0
  let text: string | undefined
  const event = (type: string, fields: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...fields })}\n\n`
  const location = { item_id: messageId(key), output_index: 0, content_index: 0 }

  const beginMessage = (part: ResponsePart) =>
    event('response.output_item.added', { output_index: 0, item: toMessage(key, 'in_progress', []) }) +
    event('response.content_part.added', { ...location, part })
  const beginText = () => (text === undefined ? beginMessage(textPart('')) : '')

  const endText = (whole: string) =>
    event('response.output_text.done', { ...location, text: whole, logprobs: [] }) +
    event('response.content_part.done', { ...location, part: textPart(whole) })
  const refuse = (refusal: string) => {
    const part: ResponsePart = { type: 'refusal', refusal: '' }
    // A model may refuse after it has written text.
    const at = { ...location, content_index: text === undefined ? 0 : 1 }
    const opening =
      text === undefined ? beginMessage(part) : endText(text) + event('response.content_part.added', { ...at, part })
    return (
      opening +
      event('response.refusal.delta', { ...at, delta: refusal }) +
      event('response.refusal.done', { ...at, refusal }) +
      event('response.content_part.done', { ...at, part: { ...part, refusal } })
    )
  }

  const callTool = (item: ResponseCall, output_index: number) => {
    const at = { item_id: item.id, output_index }
    return (
      event('response.output_item.added', { output_index, item: { ...item, arguments: '', status: 'in_progress' } }) +
      event('response.function_call_arguments.delta', { ...at, delta: item.arguments }) +
      event('response.function_call_arguments.done', { ...at, name: item.name, arguments: item.arguments }) +
      event('response.output_item.done', { output_index, item })
    )
  }

  const endMessage = (message: ResponseMessage) => {
    const [part] = message.content
    if (!part) return ''
    const ended = part.type === 'output_text' ? beginText() + endText(part.text) : refuse(part.refusal)
    return ended + event('response.output_item.done', { output_index: 0, item: message })
  }

  /** The events between the last text and the end of the response. */
  const endItems = ({ output }: ResponseObject): string =>
    output.map((item, index) => (item.type === 'message' ? endMessage(item) : callTool(item, index))).join('')

  return {
    start: () => event('response.created', { response: open }) + event('response.in_progress', { response: open }),
    text(delta: string): string {
      const opening = beginText()
      text = (text ?? '') + delta
      return opening + event('response.output_text.delta', { ...location, delta, logprobs: [] })
    },
    /** The last events, with the final response. */
    end: (response: ResponseObject) => endItems(response) + event(`response.${response.status}`, { response }),
  }
}
