import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, createServer as createTcpServer, type Socket } from 'node:net'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import { send } from './running-server.ts'

/** What the server's process uses. */
export interface ServerMemory {
  readonly rssBytes: number
  /** The highest RSS since the last `rest`. */
  readonly mostBytes: number
  /** Written and not yet taken by the system, over all connections. */
  readonly waitingBytes: number
  /** The most of one connection since the last `rest`. */
  readonly mostWaitingBytes: number
  readonly connections: number
  /** WebSockets that were sent the closing frame of a slow reader. */
  readonly slowSockets: number
}

export interface ServerProcess {
  readonly url: string
  readonly child: ChildProcess
  isAlive(): boolean
  memory(): Promise<ServerMemory>
  /** Collects garbage and starts to measure anew. */
  rest(): Promise<ServerMemory>
  /** kill -9. */
  kill(): Promise<void>
}

/** A server in a process of its own, so that what it uses and how it dies is its own. Ends with this process at the latest. */
export async function startServerProcess(config: PolyphonyConfigInput = {}): Promise<ServerProcess> {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const script = fileURLToPath(new URL('./server-child.ts', import.meta.url))
  const given = { database: 'memory://', ...config, server: { port: 0, requestsPerMinute: 1_000_000, ...config.server } }
  const child = spawn(process.execPath, ['--expose-gc', '--import', loader, script, JSON.stringify(given)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  const hear = async (): Promise<Record<string, unknown>> => {
    const heard = await Promise.race([once(child, 'message'), ended.then(() => undefined)])
    if (!heard) throw new Error(`the server ended with ${child.exitCode ?? child.signalCode}`)
    return heard[0]
  }
  const ask = async (question: 'memory' | 'rest'): Promise<ServerMemory> => {
    child.send(question)
    const { answer } = await hear()
    if (!isMemory(answer)) throw new Error('the server told something else')
    return answer
  }
  const { url } = await hear()
  return {
    url: String(url),
    child,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    memory: () => ask('memory'),
    rest: () => ask('rest'),
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

const isMemory = (answer: unknown): answer is ServerMemory =>
  typeof answer === 'object' && answer !== null && 'mostBytes' in answer && 'mostWaitingBytes' in answer

export interface Writing {
  readonly pieces: number
  /** Milliseconds before each piece. */
  readonly everyMs: number
  /** Of one piece, at least. */
  readonly characters?: number
  /** The answer is not what was written: what a reader gets at the end is short. */
  readonly inShort?: boolean
}

/** Writes until the server ends, or the flow is cancelled. */
export type EndlessWriting = Required<Pick<Writing, 'everyMs' | 'characters'>>

/** What the scripted provider writes for it. */
export const writtenText = ({ pieces, characters = 0 }: Writing): string =>
  Array.from({ length: pieces }, (_, index) => `<${index}>`.padEnd(characters, '.')).join('')

/** A flow whose one step writes so; not started. */
export const createWritingFlow = (url: string, { pieces, everyMs, characters = 0, inShort }: Writing): Promise<string> =>
  createFlowOf(url, `pieces ${pieces} every ${everyMs} of ${characters}${inShort ? ', in short' : ''}`)

/** A flow whose one step never ends; not started. */
export const createEndlessFlow = (url: string, { everyMs, characters }: EndlessWriting): Promise<string> =>
  createFlowOf(url, `without end ${everyMs} of ${characters}`)

async function createFlowOf(url: string, input: string): Promise<string> {
  const thread = (await send(url, 'POST', '/api/v1/threads')).json
  const definition = {
    name: 'writing',
    type: 'sequential',
    input,
    steps: [{ id: 'write', model: 'scripted/pen', action: 'generate', prompt: '{{ original }}' }],
  }
  const { status, text, json } = await send(url, 'POST', '/api/v1/flows', { body: { threadId: thread.id, definition } })
  if (status !== 201) throw new Error(text)
  return String(json.id)
}

export async function startFlow(url: string, flowId: string): Promise<void> {
  const { status, text } = await send(url, 'POST', `/api/v1/flows/${flowId}/execute`)
  if (status !== 202) throw new Error(text)
}

/** Bytes that the system takes for a connection of this machine that nobody reads, before anything waits in the process that writes them. */
export async function bytesThatFit(): Promise<number> {
  const server = createTcpServer()
  const port = await listenOnLoopback(server)
  const [[writer], reader] = await Promise.all([
    once(server, 'connection'),
    new Promise<Socket>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port })
      socket.once('connect', () => resolve(socket.pause()))
    }),
  ])
  let written = 0
  const piece = Buffer.alloc(10_000)
  // Nothing has moved for a few turns: it is full.
  for (let stuck = 0, waiting = 0; stuck < 5; ) {
    writer.write(piece)
    written += piece.length
    await new Promise((resolve) => setTimeout(resolve, 1))
    stuck = writer.writableLength > waiting ? stuck + 1 : 0
    waiting = writer.writableLength
  }
  const fits = written - writer.writableLength
  writer.destroy()
  reader.destroy()
  server.close()
  return fits
}
