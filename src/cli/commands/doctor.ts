import type { PolyphonyConfig } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { formatDuration } from '../amounts.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { findMissingDirectory } from '../database/stored-database.ts'
import { toPlainLine, toTable } from '../plain-text.ts'
import { cliRemedyOf } from '../report-error.ts'
import { type CommandContext, type DatabaseOptions, type OpenServices, toFlags } from '../services.ts'

interface DoctorOptions extends DatabaseOptions {
  readonly offline?: boolean
}

/** The result of one check. */
interface Finding {
  readonly check: string
  readonly ok: boolean
  /** Whether the check passed although something may be wrong. */
  readonly warning?: boolean
  readonly message: string
  readonly remedy?: string
  readonly error?: OrchestratorError
}

const PING_TIMEOUT_MS = 10_000

/** `polyphony doctor`. Performs all checks, then rejects with the error of the first that failed. */
export const doctorCommand = defineCommand<DoctorOptions>({
  name: 'doctor',
  description: 'check this machine: Node.js, configuration, database, providers, tokenizers, prices',
  configure: (command) =>
    command.option('--offline', 'do not contact providers').addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options) {
    const { services, terminal, json } = context
    const errors: OrchestratorError[] = []
    const report = ({ error, ...finding }: Finding) => {
      if (error) errors.push(error)
      if (json) return terminal.printJson(finding)
      const passedMark = finding.warning ? terminal.style('yellow', '!') : terminal.style('green', '✔')
      const mark = finding.ok ? passedMark : terminal.style('red', '✖')
      terminal.print(`${mark} ${finding.check}: ${toPlainLine(finding.message)}`)
      if (finding.remedy) terminal.print(`    ${finding.remedy}`)
    }

    report({ check: 'node', ok: true, message: `Node.js ${process.versions.node}` })
    const config = await services.loadConfig(toFlags(options))
    await printSources(context, config)
    const missing = findMissingDirectory(config)
    if (missing !== undefined) {
      report({ check: 'database', ok: true, message: `${missing} does not exist yet; the first run creates it` })
    } else {
      const openAndClose = async () => (await services.open({ ...toFlags(options), takesFlows: false })).close()
      report(await attempt('database', openAndClose, 'opens, is migrated, is not locked by another process'))
    }
    const open = await services.open({ database: 'memory://' })
    try {
      for (const finding of await checkProviders(open, options.offline ?? false)) report(finding)
      for (const finding of describePools(open)) report(finding)
      for (const finding of await checkModels(context, open)) report(finding)
    } finally {
      await open.close()
    }
    report(await attempt('tokenizers', countTokens, 'tiktoken counts tokens for OpenAI models'))
    report({ check: 'prices', ok: true, message: `list of ${await services.pricesDate()}` })
    if (errors[0]) throw errors[0]
  },
})

/** Prints every configured value with its source. Secrets appear as `set`. */
async function printSources({ terminal, json }: CommandContext, config: PolyphonyConfig): Promise<void> {
  const { describeSources } = await import('../../config/config.ts')
  const values = describeSources(config)
  if (json) for (const value of values) terminal.printJson({ check: 'config', ok: true, ...value })
  else {
    const rows = values.map(({ key, value, source }) => [key, value, `(${source})`].map(toPlainLine))
    for (const line of toTable(rows)) terminal.print(`  ${line}`)
  }
}

async function attempt(check: string, work: () => Promise<unknown>, detail: string): Promise<Finding> {
  const startedAtMs = performance.now()
  try {
    await work()
    return { check, ok: true, message: `${detail} (${formatDuration(performance.now() - startedAtMs)})` }
  } catch (thrown) {
    const error = OrchestratorError.from(thrown)
    return { check, ok: false, message: `${error.code}: ${error.message}`, remedy: cliRemedyOf(error.code), error }
  }
}

async function checkProviders({ providers }: OpenServices, offline: boolean): Promise<readonly Finding[]> {
  const accounts = providers.list()
  if (accounts.length === 0) {
    const message = 'none configured: only simulated runs are possible (--simulate, polyphony demo)'
    return [{ check: 'providers', ok: true, message }]
  }
  return Promise.all(
    accounts.map(async ({ id, kind, active, simulated, service, origin }): Promise<Finding> => {
      const facts = `${kind} at ${origin}${active ? '' : ', not active'}${simulated ? ', simulated' : ''}`
      const check = `provider ${toPlainLine(id)}`
      // Checks start nothing: a service answers while its server runs.
      if (service) return { check, ok: true, message: `${kind} of a service, which this command does not start` }
      if (offline || !active) return { check, ok: true, message: facts }
      return attempt(check, () => ping(providers, id), `${facts}, answers`)
    }),
  )
}

/** A member that is not configured keeps the instance from opening, so listed pools are complete. */
const describePools = ({ config }: OpenServices): readonly Finding[] =>
  Object.entries(config.pools).map(([name, { strategy, members }]) => ({
    check: `pool ${toPlainLine(name)}`,
    ok: true,
    message: `${strategy} over ${members.map(({ model }) => model).join(', ')}`,
  }))

/**
 * Compares the model names of agents and of configured prices with the bundled lists; a price under a mistyped name
 * never applies. An unknown name is only a warning: the model may be newer than the list.
 */
async function checkModels({ services }: CommandContext, { providers, config }: OpenServices): Promise<readonly Finding[]> {
  const infos = new Map(providers.list().map((info) => [info.id, info]))
  const lists = await services.modelNames({})
  const known = await services.modelNames(config.prices)
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

/** Splits `openai/gpt-6-sol` into provider and model, unless the provider is given separately. */
function toNames(provider: string | undefined, model: string): readonly [provider: string, model: string] {
  if (provider !== undefined) return [provider, model]
  const slash = model.indexOf('/')
  return [model.slice(0, Math.max(0, slash)), model.slice(slash + 1)]
}

async function ping(providers: OpenServices['providers'], id: string): Promise<void> {
  const provider = await providers.get(id)
  const controller = new AbortController()
  const timedOut = new OrchestratorError('PROVIDER_UNAVAILABLE', `no answer within ${PING_TIMEOUT_MS / 1_000} s`)
  const timer = setTimeout(() => controller.abort(timedOut), PING_TIMEOUT_MS)
  try {
    await provider.ping?.(controller.signal)
  } finally {
    clearTimeout(timer)
  }
}

async function countTokens(): Promise<void> {
  const { createTokenCounter } = await import('../../prompts/token-count.ts')
  const counter = createTokenCounter()
  await counter.count('Polyphony', 'openai', 'gpt-5.4')
  counter.close()
}
