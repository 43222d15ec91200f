import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { readServiceFiles } from '../../../src/config/services/service-files.ts'
import { SNAKE_CASE_SERVICE } from '../../support/service-file.ts'

const root = mkdtempSync(join(tmpdir(), 'polyphony-services-'))
afterAll(() => rmSync(root, { recursive: true }))
let folder = root
beforeEach(() => {
  folder = mkdtempSync(join(root, 'case-'))
})
const write = (name: string, text: string, mode = 0o644) => {
  const file = join(folder, name)
  writeFileSync(file, text)
  chmodSync(file, mode)
  return file
}
const only = async (text: string) => {
  write('one.yaml', text)
  const { services, problems } = await readServiceFiles(folder)
  return { service: services[0]?.service, problems }
}

describe('service files', () => {
  test('other names of keys are read as the canonical ones', async () => {
    const { service, problems } = await only(SNAKE_CASE_SERVICE)
    expect(problems).toEqual([])
    expect(service).toMatchObject({
      id: 'my-service',
      name: 'My AI Service',
      type: 'agent',
      executable: ['python', '/path/to/my_service.py'],
      cwd: folder,
      health: { url: 'http://localhost:8001/health' },
      endpoint: 'http://localhost:8001',
      start: 'auto',
      restart: { maxRetries: 3, delayMs: 30_000 },
      limits: { memory: 512 * 1024 * 1024, cpu: 25 },
      environment: { SERVICE_PORT: '8001', LOG_LEVEL: 'INFO' },
    })
    expect((await only(SNAKE_CASE_SERVICE.replace('auto_start: true', 'auto_start: false'))).service?.start).toBe('manual')
  })

  test('unknown keys are refused with line, column and a suggestion, by the name that the file has', async () => {
    const { problems } = await only('id: one\ntype: llm\nexecutable: run it\nrestart_policy:\n  max_retrys: 3\nenviroment: {}\n')
    expect(problems).toMatchObject([
      { file: join(folder, 'one.yaml'), line: 4, column: 1, path: 'restart_policy', message: 'unknown key' },
      { line: 6, column: 1, path: 'enviroment', suggestion: 'environment' },
    ])
    const wrong = await only('id: one\ntype: llm\nexecutable: run\nrestart_policy:\n  max_retries: many\n')
    expect(wrong.problems).toMatchObject([{ line: 5, column: 3, path: 'restart_policy.max_retries' }])
    const twice = await only('id: one\ntype: llm\nendpoint: http://127.0.0.1:1\napi_endpoint: http://127.0.0.1:2\n')
    expect(twice.problems).toMatchObject([{ path: 'api_endpoint', message: 'expected only one of api_endpoint and endpoint' }])
  })

  test('a command is split at spaces and quotes, and no sign of a shell means anything', async () => {
    const { service } = await only(`id: one\ntype: llm\nexecutable: run "a b" 'c "d"' "" $(x) ; rm -rf *\n`)
    expect(service?.executable).toEqual(['run', 'a b', 'c "d"', '', '$(x)', ';', 'rm', '-rf', '*'])
    expect((await only('id: one\ntype: llm\nexecutable: run "a\n')).problems).toMatchObject([{ path: 'executable', line: 3 }])
    const list = await only('id: one\ntype: llm\nexecutable: [run, "a b", --port, "{{port}}"]\nport: auto\n')
    expect(list.service?.executable).toEqual(['run', 'a b', '--port', '{{port}}'])
  })

  test('other placeholders than port, endpoint and id are refused', async () => {
    for (const line of ['executable: run {{home}}', 'executable: [run, "{{ env.KEY }}"]', 'environment: { A: "{{secret}}" }']) {
      expect((await only(`id: one\ntype: llm\n${line}\n`)).problems, line).toHaveLength(1)
    }
  })

  test('sizes and shares are read in their units, and other texts are refused', async () => {
    const limits = async (text: string) => (await only(`id: one\ntype: llm\nexecutable: run\nlimits: ${text}\n`)).service?.limits
    expect(await limits('{ memory: 1.5GiB, cpu: 150% }')).toEqual({ memory: 1.5 * 1024 ** 3, cpu: 150 })
    expect(await limits('{ memory: 1048576 }')).toEqual({ memory: 1_048_576 })
    expect(await limits('{ memory: lots }')).toBeUndefined()
    expect(await limits('{ memory: 0MB }')).toBeUndefined()
  })

  test('one bad file names itself and keeps no other from being read; two files with one id are both named', async () => {
    const first = write('a.yaml', 'id: one\ntype: llm\n')
    const second = write('b.yml', 'id: one\ntype: voice\n')
    write('c.json', '{ "id": "two", "type": "network" }')
    const broken = write('d.yaml', 'id: [unclosed\n')
    write('notes.txt', 'ignored')
    const { services, problems } = await readServiceFiles(folder)
    expect(services.map(({ service }) => service.id)).toEqual(['one', 'two'])
    expect(problems).toMatchObject([
      { file: second, path: 'id', message: expect.stringContaining(first) },
      { file: broken, path: 'file', line: expect.any(Number) },
    ])
  })

  test('files that others may write, huge files, aliases without end and foreign texts are refused', async () => {
    write('group.yaml', 'id: group\ntype: llm\n', 0o664)
    write('world.yaml', 'id: world\ntype: llm\n', 0o646)
    write('huge.yaml', `id: huge\ntype: llm\nname: ${'x'.repeat(1_000_000)}\n`)
    const levels = Array.from(
      { length: 9 },
      (_, level) => `l${level + 1}: &l${level + 1} [${Array(9).fill(`*l${level}`).join(', ')}]`,
    )
    write('bomb.yaml', `l0: &l0 [a, a]\n${levels.join('\n')}\nid: bomb\ntype: llm\n`)
    write('list.yaml', '- id: list\n')
    write('id.yaml', 'id: ../../etc\ntype: llm\n')
    const { services, problems } = await readServiceFiles(folder)
    expect(services).toEqual([])
    expect(new Set(problems.map(({ file }) => file.slice(folder.length + 1)))).toEqual(
      new Set(['group.yaml', 'world.yaml', 'huge.yaml', 'bomb.yaml', 'list.yaml', 'id.yaml']),
    )
  })

  test('a folder that does not exist has no services', async () => {
    expect(await readServiceFiles(join(folder, 'none'))).toEqual({ services: [], problems: [] })
  })
})

test('a program does not get the log of the server: its id is another one', async () => {
  const { problems } = await only('id: orchestrator\ntype: agent\nexecutable: sleep 1\n')
  expect(problems).toMatchObject([{ path: 'id', line: 1, message: expect.stringContaining('expected another id') }])
})

test('no file of a folder is read that others may write, because they could put another one in its place', async () => {
  write('one.yaml', 'id: one\ntype: llm\n', 0o600)
  for (const mode of [0o777, 0o1777, 0o775]) {
    chmodSync(folder, mode)
    const { services, problems } = await readServiceFiles(folder)
    expect(services).toEqual([])
    expect(problems).toMatchObject([{ file: folder, message: expect.stringContaining('chmod go-w') }])
  }
  chmodSync(folder, 0o755)
  expect((await readServiceFiles(folder)).services).toHaveLength(1)
})

test('a pipe in the place of a service file is a problem, and nothing waits for its writer', async () => {
  execFileSync('mkfifo', [join(folder, 'pipe.yaml')])
  const { problems } = await readServiceFiles(folder)
  expect(problems).toMatchObject([{ file: join(folder, 'pipe.yaml'), message: 'expected an ordinary file' }])
})
