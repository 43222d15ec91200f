import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { ExhaustedReport } from './exhausted-child.ts'

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./exhausted-child.ts', import.meta.url))

test.skipIf(process.platform !== 'linux')(
  'while no file can be opened a process that lives is never gone, is not signalled, and is ended later',
  async () => {
    const victim = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' })
    const ended = once(victim, 'exit')
    try {
      const node = [process.execPath, '--conditions=source', '--import', LOADER, SCRIPT, String(victim.pid)]
      const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -n 128; exec "$@"', 'sh', ...node])
      const report: ExhaustedReport = JSON.parse(stdout)
      expect(report).toMatchObject({ same: 'EMFILE', facts: 'EMFILE', tree: 'EMFILE' })
      expect(report).toMatchObject({ mayBeSame: true, hasBootId: true, signalled: false })
      await ended
      expect(victim.signalCode).toBe('SIGKILL')
    } finally {
      victim.kill('SIGKILL')
    }
  },
)
