/** What one process sends to the others in one frame. */
export interface Frame {
  /** Id of the bus that sent the frame. */
  readonly sender: string
  readonly messages: readonly TopicMessage[]
  /** Topics that the sender has subscriptions to. */
  readonly announced: readonly string[]
  /** Whether the sender has just connected, so that the others announce their topics and check what they missed. */
  readonly greeting: boolean
}

export type TopicMessage = readonly [topic: string, payload: string]

type FrameJson = readonly [sender: string, messages: readonly TopicMessage[], announced: readonly string[], greeting: 0 | 1]

/** The content as few frames of at most `maxBytes` bytes. There is always at least one frame. */
export function toFrames({ sender, messages, announced, greeting }: Frame, maxBytes: number): readonly string[] {
  const frames: string[] = []
  const emptyBytes = byteLengthOf(JSON.stringify([sender, [], [], 1]))
  let current: { messages: TopicMessage[]; announced: string[] } = { messages: [], announced: [] }
  let bytes = emptyBytes
  const close = () => {
    const frame: FrameJson = [sender, current.messages, current.announced, greeting && frames.length === 0 ? 1 : 0]
    frames.push(JSON.stringify(frame))
    current = { messages: [], announced: [] }
    bytes = emptyBytes
  }
  const makeRoom = (value: unknown) => {
    const added = byteLengthOf(JSON.stringify(value)) + 1
    if (bytes + added > maxBytes) close()
    bytes += added
  }
  for (const message of messages) {
    makeRoom(message)
    current.messages.push(message)
  }
  for (const topic of announced) {
    makeRoom(topic)
    current.announced.push(topic)
  }
  if (bytes > emptyBytes || frames.length === 0) close()
  return frames
}

/** The content of a frame; `undefined` for text that no bus has sent. */
export function fromFrame(text: string): Frame | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isFrameJson(json)) return undefined
  const [sender, messages, announced, greeting] = json
  return { sender, messages, announced, greeting: greeting === 1 }
}

const isFrameJson = (json: unknown): json is FrameJson =>
  Array.isArray(json) && typeof json[0] === 'string' && isArrayOf(json[1], isMessage) && isArrayOf(json[2], isText)

const isArrayOf = (value: unknown, holds: (item: unknown) => boolean): boolean => Array.isArray(value) && value.every(holds)
const isText = (value: unknown): boolean => typeof value === 'string'
const isMessage = (value: unknown): boolean => Array.isArray(value) && isText(value[0]) && isText(value[1])

const byteLengthOf = (text: string): number => Buffer.byteLength(text)
