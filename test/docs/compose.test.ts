import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { createProgram } from '../../src/cli/program.ts'
import type { CommandServices } from '../../src/cli/services.ts'
import { loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'
import { ROOT } from '../support/run-block.ts'

interface Service {
  readonly build?: string
  readonly command?: readonly string[]
  readonly profiles?: readonly string[]
  readonly ports?: readonly string[]
  readonly environment?: Readonly<Record<string, string | number>>
  readonly env_file?: readonly { readonly path: string }[]
  readonly healthcheck?: { readonly disable?: boolean; readonly test?: readonly string[] }
  readonly depends_on?: Readonly<Record<string, unknown>>
}
type Env = Readonly<Record<string, string | undefined>>

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const compose = read('compose.yaml')
const { services }: { readonly services: Readonly<Record<string, Service>> } = parse(compose)
const dockerfile = read('Dockerfile')
const ours = Object.entries(services).filter(([, { build }]) => build !== undefined)

/** Variables that the last stage of the image sets. */
const imageEnv = parseEnv((/^ENV ((?:.*\\\n)*.*)/m.exec(dockerfile)?.[1] ?? '').replaceAll(/ \\\n */g, '\n'))
const imageCommand: readonly string[] = JSON.parse(/^CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? '[]')
const imageCheck = /^HEALTHCHECK .*\\\n +CMD (.*)$/m.exec(dockerfile)?.[1] ?? ''

const example = parseEnv(read('.env.example'))
const FLEET = {
  DATABASE_URL: 'postgres://polyphony:secret@postgres:5432/polyphony',
  POSTGRES_PASSWORD: 'secret',
  POLYPHONY_ENGINE: 'bullmq',
}

const serviceOf = (name: string): Service => {
  const service = services[name]
  if (!service) throw new Error(`expected a service "${name}"`)
  return service
}

/** What a container of the service has: the image, then `.env`, then the service's own, as Compose puts them together. */
function environmentOf({ environment = {}, env_file: files = [] }: Service, dotenv: Env): Env {
  const interpolate = (text: string) => text.replace(/\$\{(\w+):-(.*?)\}/g, (_, name, otherwise) => dotenv[name] || otherwise)
  const own = Object.entries(environment).map(([name, value]) => [name, interpolate(String(value))] as const)
  return { ...imageEnv, ...(files.some(({ path }) => path === '.env') && dotenv), ...Object.fromEntries(own) }
}

interface Started {
  readonly config: PolyphonyConfig
  /** The first thing that the command opens, or the message of its refusal. */
  readonly outcome: string
}

/** Runs the command of the service until it opens something. */
async function start(name: string, dotenv: Env): Promise<Started> {
  const service = serviceOf(name)
  const env = environmentOf(service, dotenv)
  const load = (flags: PolyphonyConfigInput = {}) => loadConfig({}, { flags, env, cwd: '/nonexistent' })
  const open = (what: string) => () => Promise.reject(new Error(what))
  const stubs = { loadConfig: load, open: open('worker'), serve: open('server'), migrate: open('migration') }
  const context = { services: stubs as unknown as CommandServices, terminal: { print: () => undefined }, json: false }
  const program = createProgram(() => context as never).exitOverride()
  const outcome = await program.parseAsync([...(service.command ?? imageCommand)], { from: 'user' }).then(
    () => 'nothing',
    (error: Error) => error.message,
  )
  return { config: await load(), outcome }
}

/** Options of the command that begins with these words. */
function optionsOf([group, name]: readonly string[]): readonly (string | undefined)[] {
  const program = createProgram(() => ({}) as never)
  const command = program.commands.find((found) => found.name() === group)?.commands.find((found) => found.name() === name)
  return command?.options.map(({ long }) => long) ?? []
}

const OPENS: Readonly<Record<string, string>> = { app: 'server', migrate: 'migration', worker: 'worker' }

test('every service of the image has a command that the command line accepts, with one engine and one database', async () => {
  expect(ours.map(([name]) => name).sort()).toEqual(Object.keys(OPENS).sort())
  for (const [name] of ours) {
    const { config, outcome } = await start(name, { ...example, ...FLEET })
    expect(outcome, name).toBe(OPENS[name])
    expect(config, name).toMatchObject({ engine: 'bullmq', database: FLEET.DATABASE_URL, takesFlows: true })
  }
})

test.each([
  ['without .env', {}],
  ['with a copy of .env.example', example],
])('the app alone is a server on its embedded database that the published port reaches, %s', async (_, dotenv) => {
  const { config, outcome } = await start('app', dotenv)
  expect(outcome).toBe('server')
  expect(config).toMatchObject({ engine: 'local', database: 'pglite:///data/polyphony' })
  expect(config.server.host).toBe('0.0.0.0')
  expect(serviceOf('app').ports).toEqual([`127.0.0.1:${config.server.port}:${config.server.port}`])
})

test('workers whose app would run all flows itself refuse to start and name the variable, which .env.example has', async () => {
  const { outcome } = await start('worker', { ...example, ...FLEET, POLYPHONY_ENGINE: '' })
  expect(outcome).toContain('POLYPHONY_ENGINE=bullmq')
  for (const name of Object.keys(FLEET)) expect(example).toHaveProperty(name)
})

test('the health check of the app is that of the image, at the port of the server', () => {
  expect(serviceOf('app').healthcheck).toBeUndefined()
  expect(imageCheck).toContain('POLYPHONY_PORT}/readyz')
  expect(environmentOf(serviceOf('app'), example).POLYPHONY_PORT).toBe('4100')
})

test('the health check of a worker asks the port on which it answers', async () => {
  const { config } = await start('worker', { ...example, ...FLEET })
  const { test: check = [], disable } = serviceOf('worker').healthcheck ?? {}
  expect(disable).toBeUndefined()
  expect(check.slice(0, 3)).toEqual(['CMD', 'node', '-e'])
  const [url = ''] = /http:[^']+/.exec(check[3] ?? '') ?? []
  expect(url).toBe(`http://${config.server.host}:${config.worker.healthPort}/health`)
  // Compose would replace it.
  expect(check[3]).not.toContain('$')
})

test('the commands of the first lines name profiles, services and commands that exist', () => {
  const profiles = new Set(Object.values(services).flatMap(({ profiles: own = [] }) => own))
  const lines = [...compose.matchAll(/^# {3}docker compose (.+)$/gm)].map(([, line = '']) => line.split(' '))
  expect(lines.length).toBeGreaterThan(3)
  for (const words of lines) {
    const named = words.flatMap((word, index) => (words[index - 1] === '--profile' ? [word] : []))
    for (const profile of named) expect([...profiles]).toContain(profile)
    const rest = words.filter((word, index) => !word.startsWith('--') && words[index - 1] !== '--profile')
    const [verb, service = 'app', ...command] = rest
    expect(['run', 'up']).toContain(verb)
    expect(Object.keys(services)).toContain(service)
    const { profiles: needed = named } = serviceOf(service)
    expect(needed.length === 0 || needed.some((profile) => named.includes(profile))).toBe(true)
    if (verb === 'run') expect(optionsOf(command)).toContain('--user')
  }
})
