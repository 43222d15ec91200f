import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { createLazyServices } from '../../src/composition/services/create-services.ts'
import { loadConfig } from '../../src/config/config.ts'
import { checkServices } from '../../src/services/process/check-services.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
const newFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), 'polyphony-allowed-'))
  folders.push(folder)
  return folder
}
const LISTED = '/bin/sleep'

test('with a list in the file only its programs are accepted, from service files and from code', async () => {
  const cwd = newFolder()
  const dir = join(cwd, 'services')
  mkdirSync(dir)
  writeFileSync(join(cwd, 'polyphony.yaml'), `services: { dir: ${dir}, dataDir: ${cwd}/data, allowExecutables: [${LISTED}] }\n`)
  const files = { good: [LISTED, '1'], bare: ['sleep', '1'], other: ['/bin/sh', '-c', LISTED], near: [`${LISTED}/../sh`] }
  for (const [id, executable] of Object.entries(files)) {
    writeFileSync(join(dir, `${id}.json`), JSON.stringify({ id, type: 'agent', executable }))
    chmodSync(join(dir, `${id}.json`), 0o600)
  }
  const config = await loadConfig(undefined, { env: {}, cwd })
  const services = createLazyServices({ config, publish: () => undefined, warn: () => undefined }).get()
  const problems = await services.load()
  expect(problems.map(({ code, details }) => [code, details.service])).toEqual([
    ['SERVICE_EXECUTABLE_REFUSED', 'bare'],
    ['SERVICE_EXECUTABLE_REFUSED', 'near'],
    ['SERVICE_EXECUTABLE_REFUSED', 'other'],
  ])
  expect(services.list().map(({ id }) => id)).toEqual(['good'])
  await expect(services.register({ id: 'code', type: 'agent', executable: ['/bin/sh'] })).rejects.toMatchObject({
    code: 'SERVICE_EXECUTABLE_REFUSED',
    details: { service: 'code', program: '/bin/sh' },
  })
  // An address runs no program.
  await services.register({ id: 'address', type: 'agent', endpoint: 'http://127.0.0.1:9' })
  await services.close()

  const failed = (await checkServices(dir, config.services.allowExecutables)).filter(({ ok }) => !ok)
  expect(failed.map(({ service }) => service).toSorted()).toEqual(['bare', 'near', 'other'])
  expect(failed[0]?.message).toContain('services.allowExecutables')
})

test('a list holds absolute paths only, is off by default, and no variable of the environment sets it', async () => {
  const cwd = newFolder()
  const names = ['ALLOW_EXECUTABLES', 'SERVICES_ALLOW_EXECUTABLES', 'SERVICES_ALLOWEXECUTABLES', 'SERVICES__ALLOWEXECUTABLES']
  const spellings = names.flatMap((name) => [name, `POLYPHONY_${name}`, `ORCHESTRATOR_${name}`])
  const env = Object.fromEntries(spellings.map((name) => [name, LISTED]))
  writeFileSync(join(cwd, '.env'), spellings.map((name) => `${name}=${LISTED}\n`).join(''))
  expect((await loadConfig(undefined, { env, cwd })).services.allowExecutables).toBe(false)
  for (const allowExecutables of [['sleep'], ['./sleep'], [''], true]) {
    const input: object = { services: { allowExecutables } }
    await expect(loadConfig(input, { env: {}, cwd })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  }
})
