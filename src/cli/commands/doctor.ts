import { existsSync } from 'node:fs'
import { describeSources, type PolyphonyConfig } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createTokenCounter } from '../../prompts/token-count.ts'
import { formatDuration } from '../amounts.ts'
import { toPlainLine, toTable } from '../plain-text.ts'
import { cliRemedyOf } from '../report-error.ts'
import { type CommandContext, type DatabaseOptions, type OpenServices, toFlags } from '../services.ts'

export interface DoctorOptions extends DatabaseOptions {
  readonly offline?: boolean
}

/** One thing that was looked at. */
interface Finding {
  readonly check: string
  readonly ok: boolean
  /** Nothing is wrong for certain. */
  readonly warning?: boolean
  readonly message: string
  readonly remedy?: string
  readonly error?: OrchestratorError
}

const PING_TIMEOUT_MS = 10_000

/** `polyphony doctor`. Rejects with the first thing that is wrong, after everything was looked at. */
export async function doctorCommand(context: CommandContext, options: DoctorOptions): Promise<void> {
  const { house, terminal, json } = context
  const wrong: OrchestratorError[] = []
  const tell = ({ error, ...finding }: Finding) => {
    if (error) wrong.push(error)
    if (json) return terminal.printJson(finding)
    const good = finding.warning ? terminal.style('yellow', '!') : terminal.style('green', '✔')
    const mark = finding.ok ? good : terminal.style('red', '✖')
    terminal.print(`${mark} ${finding.check}: ${toPlainLine(finding.message)}`)
    if (finding.remedy) terminal.print(`    ${finding.remedy}`)
  }

  tell({ check: 'node', ok: true, message: `Node.js ${process.versions.node}` })
  const config = await house.loadConfig(toFlags(options))
  tellConfig(context, config)
  const missing = findMissingDirectory(config)
  if (missing !== undefined) {
    tell({ check: 'database', ok: true, message: `${missing} is not there yet; the first run makes it` })
  } else {
    const opened = await attempt(
      'database',
      async () => (await house.open(toFlags(options))).close(),
      'opens, migrated, not locked by another process',
    )
    tell(opened)
  }
  const open = await house.open({ database: 'memory://' })
  try {
    for (const finding of await checkProviders(open, options.offline ?? false)) tell(finding)
    for (const finding of await checkModels(context, open)) tell(finding)
  } finally {
    await open.close()
  }
  tell(await attempt('tokenizers', countTokens, 'tiktoken counts for OpenAI models'))
  tell({ check: 'prices', ok: true, message: `list of ${await house.pricesDate()}` })
  if (wrong[0]) throw wrong[0]
}

function tellConfig({ terminal, json }: CommandContext, config: PolyphonyConfig): void {
  const values = describeSources(config)
  if (json) for (const value of values) terminal.printJson({ check: 'config', ok: true, ...value })
  else {
    const rows = values.map(({ key, value, source }) => [key, value, `(${source})`].map(toPlainLine))
    for (const line of toTable(rows)) terminal.print(`  ${line}`)
  }
}

/** Looking must not make the embedded database. */
function findMissingDirectory({ database }: PolyphonyConfig): string | undefined {
  const directory = typeof database === 'string' ? /^pglite:\/\/(?!memory$)(.+)$/.exec(database)?.[1] : undefined
  return directory !== undefined && !existsSync(directory) ? directory : undefined
}

async function attempt(check: string, work: () => Promise<unknown>, good: string): Promise<Finding> {
  const startedAtMs = performance.now()
  try {
    await work()
    return { check, ok: true, message: `${good} (${formatDuration(performance.now() - startedAtMs)})` }
  } catch (thrown) {
    const error = OrchestratorError.from(thrown)
    return { check, ok: false, message: `${error.code}: ${error.message}`, remedy: cliRemedyOf(error.code), error }
  }
}

async function checkProviders({ providers }: OpenServices, offline: boolean): Promise<readonly Finding[]> {
  const accounts = providers.list()
  if (accounts.length === 0) {
    const message = 'none configured: only simulated runs (--simulate, polyphony demo)'
    return [{ check: 'providers', ok: true, message }]
  }
  return Promise.all(
    accounts.map(async ({ id, kind, active, simulated, origin }): Promise<Finding> => {
      const facts = `${kind} at ${origin}${active ? '' : ', not active'}${simulated ? ', simulated' : ''}`
      const check = `provider ${toPlainLine(id)}`
      if (offline || !active) return { check, ok: true, message: facts }
      return attempt(check, () => ping(providers, id), `${facts}, answers`)
    }),
  )
}

/** Models of agents, and of configured prices, which are never found under a mistyped name. A doubt is not a fault: the model may be newer than the list. */
async function checkModels({ house }: CommandContext, { providers, config }: OpenServices): Promise<readonly Finding[]> {
  const infos = new Map(providers.list().map((info) => [info.id, info]))
  const lists = await house.modelNames({})
  const known = await house.modelNames(config.prices)
  const findings: Finding[] = []
  for (const [agent, { provider, model }] of Object.entries(config.agents)) {
    if (model === undefined) continue
    const [id, name] = toNames(provider, model)
    const info = infos.get(id)
    const doubt = info && (await known.doubt(info, name))
    if (doubt) findings.push({ check: `agent ${toPlainLine(agent)}`, ok: true, warning: true, message: doubt.message })
  }
  for (const key of Object.keys(config.prices)) {
    const [id, name] = toNames(undefined, key)
    const info = infos.get(id)
    const doubt = info && (await lists.doubt(info, name))
    if (doubt?.suggestion !== undefined || doubt?.shutdown !== undefined)
      findings.push({ check: `price ${toPlainLine(key)}`, ok: true, warning: true, message: doubt.message })
  }
  return findings
}

/** Provider and model; a model may carry the provider in front, as in `openai/gpt-6-sol`. */
function toNames(provider: string | undefined, model: string): readonly [provider: string, model: string] {
  if (provider !== undefined) return [provider, model]
  const slash = model.indexOf('/')
  return [model.slice(0, Math.max(0, slash)), model.slice(slash + 1)]
}

async function ping(providers: OpenServices['providers'], id: string): Promise<void> {
  const provider = await providers.get(id)
  const controller = new AbortController()
  const late = new OrchestratorError('PROVIDER_UNAVAILABLE', `no answer within ${PING_TIMEOUT_MS / 1_000} s`)
  const timer = setTimeout(() => controller.abort(late), PING_TIMEOUT_MS)
  try {
    await provider.ping?.(controller.signal)
  } finally {
    clearTimeout(timer)
  }
}

async function countTokens(): Promise<void> {
  const counter = createTokenCounter()
  await counter.count('Polyphony', 'openai', 'gpt-5.4')
  counter.close()
}
