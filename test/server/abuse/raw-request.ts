import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface RawAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** A TCP connection to the server of the URL; ends with the test. */
export async function openTcp(url: string, options: { readonly allowHalfOpen?: boolean } = {}): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), noDelay: true, ...options })
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return socket
}

/** Sends bytes as they are and reads one answer: what no HTTP library would send can be sent. */
export async function sendRaw(url: string, request: string | Buffer): Promise<RawAnswer> {
  const socket = await openTcp(url)
  const answer = readAnswer(socket)
  socket.write(request)
  try {
    return await answer
  } finally {
    socket.destroy()
  }
}

/** The next answer on the connection, up to its Content-Length; status 0 where the connection ends before its head. */
export function readAnswer(socket: Socket): Promise<RawAnswer> {
  return new Promise((resolve) => {
    let text = ''
    const look = (ended: boolean) => {
      const headEnd = text.indexOf('\r\n\r\n')
      if (headEnd === -1) {
        if (ended) resolve({ status: 0, head: text, body: '' })
        return
      }
      const head = text.slice(0, headEnd)
      const body = text.slice(headEnd + 4)
      const status = Number(head.split(' ', 2)[1])
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
      if (ended || status === 101 || /^content-type: *text\/event-stream/im.test(head) || body.length >= length)
        resolve({ status, head, body })
    }
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      look(false)
    })
    socket.once('close', () => look(true))
  })
}
