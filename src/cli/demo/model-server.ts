/**
 * A small model server of Chat Completions as a program of its own, for `polyphony demo services`. It is text, because
 * the demo starts it as a process of Node.js, from the sources as well as from the package. Variables: `PORT`, `NAME`,
 * `CHUNK_MS` (milliseconds between two words), `WORDS` (number of words of an answer).
 */
export const MODEL_SERVER = `
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const { PORT = '0', NAME = 'model', CHUNK_MS = '20', WORDS = '20' } = process.env
const words = Array.from({ length: Number(WORDS) }, (_, index) => 'word' + (index + 1) + ' ')
const usage = { prompt_tokens: 10, completion_tokens: words.length, total_tokens: 10 + words.length }

async function answer(asked, response) {
  const base = { id: 'chatcmpl-1', created: 1, model: asked.model }
  if (asked.stream !== true) {
    await sleep(Number(CHUNK_MS) * words.length)
    const message = { role: 'assistant', content: words.join('') + 'from ' + NAME + '.' }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ ...base, object: 'chat.completion', usage, choices: [{ index: 0, message, finish_reason: 'stop' }] }))
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (more) => response.write('data: ' + JSON.stringify({ ...base, object: 'chat.completion.chunk', ...more }) + '\\n\\n')
  for (const content of [...words, 'from ' + NAME + '.']) {
    await sleep(Number(CHUNK_MS))
    if (response.destroyed) return
    send({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
  if (asked.stream_options?.include_usage) send({ choices: [], usage })
  response.end('data: [DONE]\\n\\n')
}

createServer(async (request, response) => {
  if (request.url === '/health') return void response.end('ok')
  if (request.url === '/v1/models') return void response.end(JSON.stringify({ object: 'list', data: [{ id: 'small' }] }))
  let body = ''
  for await (const chunk of request) body += chunk
  await answer(JSON.parse(body), response)
}).listen(Number(PORT), '127.0.0.1', () => console.log(NAME + ' listens'))
`
