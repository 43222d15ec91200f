import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { runWorkflowServer } from './workflow-server.ts'

const hasPython = spawnSync('python3', ['--version']).status === 0

test.skipIf(!hasPython)(
  "a client in Python's standard library walks through the service (skipped where python3 is missing)",
  async () => {
    const server = await runWorkflowServer(() => 'done')
    const key = await server.keyOf('ada')
    const script = join(import.meta.dirname, 'client.py')
    const { stdout } = await promisify(execFile)('python3', [script, server.url, key], { timeout: 120_000 })
    expect(JSON.parse(stdout)).toMatchObject({
      health: [200, { status: 'healthy', database: 'up' }],
      submitted: [202, { status: 'pending', tasks: [{ task_id: '1' }, { task_id: '2', depends_on: ['1'] }] }],
      status: [200, { status: 'completed', tasks: [{ result: { output: 'done' } }, { status: 'completed' }] }],
      listed: [200, [{ metadata: { from: 'python' } }]],
      refused: 422,
      deleted: 200,
      gone: 404,
    })
  },
  180_000,
)
