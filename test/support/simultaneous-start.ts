import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { openTestPostgres } from './postgres.ts'

/** Processes that wait for the URL of a database. */
class Opener {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor() {
    const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
    const script = fileURLToPath(new URL('./database-opener.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', loader, script], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    this.child = child
  }

  async report(): Promise<string> {
    const { value, done } = await this.#lines.next()
    return done ? 'the process ended' : value
  }

  open(url: string): Promise<string> {
    this.child.stdin?.write(`${url}\n`)
    return this.report()
  }
}

/** Opens an empty database in many processes at once, many times. Resolves with what they reported, by round. */
export async function openAtOnce(processes: number, rounds: number): Promise<readonly (readonly string[])[]> {
  const openers = Array.from({ length: processes }, () => new Opener())
  try {
    await Promise.all(openers.map((opener) => opener.report()))
    const reports: (readonly string[])[] = []
    for (let round = 0; round < rounds; round++) {
      const { url, drop } = await openTestPostgres()
      reports.push(await Promise.all(openers.map((opener) => opener.open(url))))
      await drop()
    }
    return reports
  } finally {
    await Promise.all(
      openers.map(async ({ child }) => {
        if (child.exitCode !== null) return
        child.stdin?.end()
        await once(child, 'exit')
      }),
    )
  }
}
