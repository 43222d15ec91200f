// A fake model vendor with minimal cost: Chat Completions over raw TCP, as JSON and as an event stream with usage. POST
// to any path: an answer. GET /pace/<latencyMs>/<gapMs>: sets the time to the answer and between chunks. GET /calls:
// calls so far.
import { createServer } from 'node:net'

const ANSWER_TOKENS = 200
const PROMPT_TOKENS = 25
const STREAMED_TOKENS = 40
const DIFFERENT_ANSWERS = 64

const usage = {
  prompt_tokens: PROMPT_TOKENS,
  completion_tokens: ANSWER_TOKENS,
  total_tokens: PROMPT_TOKENS + ANSWER_TOKENS,
}

/** Incompressible words, equal in every run, so that rows have a realistic size. */
function createWords(seed) {
  let state = seed
  const letter = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return String.fromCharCode(97 + ((state >>> 16) % 26))
  }
  return (count) => Array.from({ length: count }, () => letter() + letter() + letter() + letter() + letter()).join(' ')
}

const toHttp = (type, body) =>
  Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)

const words = createWords(7)
const answers = Array.from({ length: DIFFERENT_ANSWERS }, () =>
  toHttp(
    'application/json',
    JSON.stringify({
      id: 'chatcmpl-bench',
      object: 'chat.completion',
      created: 1_760_000_000,
      model: 'fake-1',
      choices: [{ index: 0, message: { role: 'assistant', content: words(ANSWER_TOKENS) }, finish_reason: 'stop' }],
      usage,
    }),
  ),
)

const toEvent = (choices, rest) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1_760_000_000, model: 'fake-1', choices, ...rest })}\n\n`
const toChunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const STREAM_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
const tokens = Array.from({ length: STREAMED_TOKENS }, () =>
  toChunk(toEvent([{ index: 0, delta: { content: `${words(1)} ` }, finish_reason: null }])),
)
const STREAM_END = `${toChunk(`${toEvent([{ index: 0, delta: {}, finish_reason: 'stop' }])}${toEvent([], { usage })}data: [DONE]\n\n`)}0\r\n\r\n`

let calls = 0
let latencyMs = 0
let gapMs = 0

function streamTo(socket) {
  socket.write(STREAM_HEAD + toChunk(toEvent([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }])))
  let sent = 0
  const next = () => {
    if (socket.destroyed) return
    if (sent === tokens.length) {
      socket.write(STREAM_END)
      return
    }
    socket.write(tokens[sent++])
    if (gapMs > 0) setTimeout(next, gapMs)
    else next()
  }
  next()
}

function control(socket, path) {
  const [, command, latency, gap] = path.split('/')
  if (command === 'pace') {
    latencyMs = Number(latency)
    gapMs = Number(gap)
  }
  socket.write(toHttp('text/plain', String(calls)))
}

function answer(socket, body) {
  const number = calls++
  const send = /"stream":\s*true/.test(body) ? () => streamTo(socket) : () => socket.write(answers[number % DIFFERENT_ANSWERS])
  if (latencyMs > 0) setTimeout(send, latencyMs)
  else send()
}

/** Handles the complete requests at the front of `bytes` and returns the remaining bytes. */
function takeRequests(socket, bytes) {
  let rest = bytes
  while (rest.length > 0) {
    const headEnd = rest.indexOf('\r\n\r\n')
    if (headEnd < 0) break
    const head = rest.latin1Slice(0, headEnd)
    const end = headEnd + 4 + Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    if (rest.length < end) break
    if (head.startsWith('GET ')) control(socket, head.slice(4, head.indexOf(' ', 4)))
    else answer(socket, rest.latin1Slice(headEnd + 4, end))
    rest = rest.subarray(end)
  }
  return rest
}

const NOTHING = Buffer.alloc(0)
const server = createServer({ noDelay: true }, (socket) => {
  let pending = NOTHING
  socket.on('error', () => socket.destroy())
  socket.on('data', (bytes) => {
    pending = takeRequests(socket, pending.length > 0 ? Buffer.concat([pending, bytes]) : bytes)
  })
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 8192 }, () => process.send?.({ port: server.address().port }))
process.on('disconnect', () => process.exit())
