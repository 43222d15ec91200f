import { Duplex } from 'node:stream'

/** Two ends of a connection within this process. */
export interface ConnectionPair {
  readonly client: Duplex
  /** Has what the HTTP server of Node and our routes use of a network socket. */
  readonly server: Duplex
}

interface End {
  readonly stream: Duplex
  /** Receives what the other end writes. `done` is called when this end can take more. */
  receive(chunk: Buffer, done: () => void): void
}

/** `remoteAddress`: the address of the client as the server sees it. */
export function createConnectionPair(remoteAddress: string | undefined): ConnectionPair {
  const client: End = createEnd(() => server)
  const server: End = createEnd(() => client)
  return { client: client.stream, server: withTimeout(server.stream, remoteAddress) }
}

function createEnd(peer: () => End): End {
  let sent: (() => void) | undefined
  const confirm = () => {
    const done = sent
    sent = undefined
    done?.()
  }
  const stream = new Duplex({
    read: confirm,
    write(chunk: Buffer, _encoding, done) {
      stream.emit('progress')
      peer().receive(chunk, done)
    },
    final(done) {
      peer().stream.push(null)
      done()
    },
    destroy(error, done) {
      confirm()
      // An end that has sent everything leaves it to the other end to read it.
      if (!stream.writableFinished) queueMicrotask(() => peer().stream.destroy())
      done(error)
    },
  })
  // An end that is closed early is no failure of this process; the other end sees a closed connection.
  stream.on('error', () => {})
  return {
    stream,
    receive(chunk, done) {
      const confirmed = () => {
        peer().stream.emit('progress')
        done()
      }
      if (stream.destroyed || stream.push(chunk)) confirmed()
      else sent = confirmed
    },
  }
}

/**
 * Adds the address, and `setTimeout` as network sockets have it: `timeout` is emitted when nothing was sent or read for
 * so long.
 */
function withTimeout(stream: Duplex, remoteAddress: string | undefined): Duplex {
  let timeoutMs = 0
  let timer: NodeJS.Timeout | undefined
  const restart = () => {
    clearTimeout(timer)
    timer = timeoutMs > 0 && !stream.destroyed ? setTimeout(() => stream.emit('timeout'), timeoutMs).unref() : undefined
  }
  stream.on('progress', restart)
  stream.on('close', restart)
  return Object.assign(stream, {
    remoteAddress,
    setTimeout(ms: number) {
      timeoutMs = ms
      restart()
      return stream
    },
  })
}
