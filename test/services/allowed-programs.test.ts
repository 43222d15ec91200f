import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
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

test('a program that others may write, or replace in its folder, is a warning of the check', async () => {
  const dir = newFolder()
  const bin = newFolder()
  const modes = { own: 0o755, group: 0o775, all: 0o757 }
  for (const [id, mode] of Object.entries(modes)) {
    const program = join(bin, id)
    writeFileSync(program, '#!/bin/sh\n')
    chmodSync(program, mode)
    writeFileSync(join(dir, `${id}.json`), JSON.stringify({ id, type: 'agent', executable: [program] }), { mode: 0o600 })
  }
  symlinkSync(join(bin, 'all'), join(bin, 'link'))
  const linked = { id: 'link', type: 'agent', executable: [join(bin, 'link')] }
  writeFileSync(join(dir, 'link.json'), JSON.stringify(linked), { mode: 0o600 })
  const warned = async () => {
    const findings = await checkServices(dir, false)
    expect(findings.filter(({ ok }) => !ok)).toEqual([])
    return findings.filter(({ warning }) => warning).map(({ service, message }) => `${service}: ${message}`)
  }
  const file = (name: string) => `program ${join(bin, name)}: expected a file that only its owner may write: chmod go-w`
  expect((await warned()).toSorted()).toEqual([`all: ${file('all')}`, `group: ${file('group')}`, `link: ${file('all')}`])
  chmodSync(bin, 0o777)
  expect(await warned()).toContain(
    `own: program ${join(bin, 'own')}: expected a folder that only its owner may write: chmod go-w`,
  )
  // No one but the owner may replace a file there, as in /tmp.
  chmodSync(bin, 0o1777)
  expect((await warned()).filter((line) => line.startsWith('own'))).toEqual([])
})
