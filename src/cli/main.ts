#!/usr/bin/env node
import { resolve } from 'node:path'
import { CommanderError } from 'commander'
import { readVersion } from '../config/version.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createProgram, toFullWords } from './program.ts'
import { reportError } from './report-error.ts'
import type { CommandContext, CommandServices } from './services.ts'
import { createTerminal, type Terminal } from './terminal.ts'

const services: CommandServices = {
  open: async (flags) => (await import('../polyphony.ts')).createPolyphony({}, { flags, defaultMigrations: 'check' }),
  loadConfig: async (flags) => (await import('../config/config.ts')).loadConfig({}, { flags, defaultMigrations: 'check' }),
  createParser: async (config) => (await import('../polyphony.ts')).createConfiguredParser(config),
  async migrate({ database, engine, redisUrl }, options) {
    const { migrate } = await import('../repositories/database.ts')
    const names = await migrate(database, options)
    if (engine !== 'bullmq' || redisUrl !== undefined) return names
    const { poolSettingsOf } = await import('../repositories/postgres/pool-settings.ts')
    const settings = poolSettingsOf(database)
    const { migrateBullmqAt } = await import('../engines/bullmq/postgres-schema.ts')
    return settings ? [...names, ...(await migrateBullmqAt(settings, options))] : names
  },
  exportData: async ({ database }, sink, includeRunning) =>
    (await import('../repositories/database.ts')).exportDatabase(database, sink, { program: readVersion(), includeRunning }),
  importData: async ({ database }, chunks) => (await import('../repositories/database.ts')).importDatabase(database, chunks),
  serve: async (flags, { register, background = false } = {}) => {
    const { startServer } = await import('../server/main.ts')
    const registering = register === undefined ? {} : { register: (open: unknown) => registerModule(register, open) }
    return startServer(flags, { ...registering, background })
  },
  checkServices: async ({ services: { dir, allowExecutables } }) =>
    (await import('../services/process/check-services.ts')).checkServices(resolve(dir), allowExecutables),
  endOrphans: async ({ services: { dataDir, logDir, logs, memoryHardFactor } }) => {
    const { endOrphans } = await import('../services/process/end-orphans.ts')
    const folders = { dataDir: resolve(dataDir), ...(logDir !== undefined && { logDir: resolve(logDir) }) }
    const left = await endOrphans({ ...folders, logs, memoryHardFactor })
    return left.map((run) => ({ id: run.id, outcome: run.outcome, pids: 'pids' in run ? run.pids : [] }))
  },
  register: registerModule,
  listenForHealth: async ({ config, apiKeys, engineHealth }, port) => {
    const { listenForHealth } = await import('../server/health/health-listener.ts')
    const { host } = config.server
    return listenForHealth({ host, port, version: readVersion(), pingDatabase: () => apiKeys.exist(), engineHealth })
  },
  serveTools: async (serving) => (await import('../server/mcp/stdio.ts')).serveToolsOverStdio(serving),
  modelNames: async (prices) => (await import('../providers/models/model-names.ts')).createModelNames({ prices }),
  pricesDate: async () => (await import('../providers/models/prices.ts')).PRICES_DATE,
}

async function registerModule(modulePath: string, open: unknown): Promise<void> {
  const module = await import('../system/register-module.ts')
  await module.registerModule(modulePath, open)
}

/** Runs one command line and returns its exit code. */
async function main(words: readonly string[], terminal: Terminal): Promise<number> {
  const createContext = (json: boolean): CommandContext => ({ services, terminal, json })
  const program = createProgram(createContext)
  try {
    if (words.length === 0) program.outputHelp()
    else await program.parseAsync(toFullWords(words), { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    return reportError(toUsageError(error, words), createContext(words.includes('--json')))
  }
}

/** An error of the command line becomes INPUT_INVALID, so that it is reported like all others. */
function toUsageError(error: unknown, [group]: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error
  const message = error.code === 'commander.help' ? `expected a command after "${group}"` : error.message.replace(/^error: /, '')
  return new OrchestratorError('INPUT_INVALID', message)
}

const words = process.argv.slice(2)

// The reader of a pipe may close it early: `polyphony flows list | head -1`. `mcp` detects that itself and closes its
// database first.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  if (words[0] !== 'mcp') process.exit(0)
})

process.exitCode = await main(words, createTerminal(process))
