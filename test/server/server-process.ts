import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { send } from './running-server.ts'

/** What the server's process uses. */
export interface ServerMemory {
  readonly rssBytes: number
  /** The highest RSS since the last `rest`. */
  readonly mostBytes: number
  readonly heapBytes: number
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
  typeof answer === 'object' && answer !== null && 'rssBytes' in answer && 'mostBytes' in answer && 'heapBytes' in answer

export interface Writing {
  readonly pieces: number
  /** Milliseconds before each piece. */
  readonly everyMs: number
  /** Of one piece, at least. */
  readonly characters?: number
}

/** What the scripted provider writes for it. */
export const writtenText = ({ pieces, characters = 0 }: Writing): string =>
  Array.from({ length: pieces }, (_, index) => `<${index}>`.padEnd(characters, '.')).join('')

/** A flow whose one step writes so; not started. */
export async function createWritingFlow(url: string, { pieces, everyMs, characters = 0 }: Writing): Promise<string> {
  const thread = (await send(url, 'POST', '/api/v1/threads')).json
  const definition = {
    name: 'writing',
    type: 'sequential',
    input: `pieces ${pieces} every ${everyMs} of ${characters}`,
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
