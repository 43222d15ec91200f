import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MODEL_SERVER } from '../../src/cli/demo/model-server.ts'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowExecutionResult } from '../../src/domain/execution/flow-result.ts'
import type { ExecuteFlowOptions } from '../../src/orchestrator/service-options.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import type { ServiceInput } from '../../src/services/service.ts'
import { endLeftProcesses, findProcesses } from '../support/left-processes.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

/** Every process of a test has this variable in its environment. */
const WORLD = 'POLYPHONY_TEST_WORLD'

export interface ModelServerOptions {
  readonly chunkMs?: number
  readonly words?: number
}

/** Small model servers of one test, as services of a Polyphony, and everything that must be gone at its end. */
export function createModelServers(config: PolyphonyConfigInput = {}) {
  const world = randomUUID()
  const folder = mkdtempSync(join(tmpdir(), 'polyphony-models-'))
  const program = join(folder, 'model-server.mjs')
  writeFileSync(program, MODEL_SERVER)

  /** The service of a model server, which any part may replace. */
  const serverOf = (id: string, more: Partial<ServiceInput> = {}, { chunkMs = 1, words = 3 }: ModelServerOptions = {}) => ({
    id,
    type: 'llm' as const,
    executable: [process.execPath, program],
    port: 'auto' as const,
    endpoint: 'http://127.0.0.1:{{port}}',
    health: { url: '{{endpoint}}/health', startIntervalMs: 20, intervalMs: 500, timeoutMs: 5_000 },
    environment: { NAME: id, CHUNK_MS: String(chunkMs), WORDS: String(words), [WORLD]: world },
    provider: { kind: 'openai-compatible' as const, path: '/v1', models: ['small'] },
    ...more,
  })

  /** Writes a service file of the folder that `open` configures. */
  const writeFile = (service: ReturnType<typeof serverOf>) =>
    writeFileSync(join(folder, 'services', `${service.id}.json`), JSON.stringify(service), { mode: 0o600 })

  const opened: Polyphony[] = []
  const services = { dir: join(folder, 'services'), dataDir: join(folder, 'data') }
  mkdirSync(services.dir)
  return {
    folder,
    services,
    serverOf,
    writeFile,
    processes: () => findProcesses(WORLD, world),
    async open(more: PolyphonyConfigInput = {}): Promise<Polyphony> {
      const polyphony = await openTestPolyphony({ services, retry: { baseDelayMs: 20 }, ...config, ...more })
      opened.push(polyphony)
      return polyphony
    },
    /** Runs a flow of one user to its end. */
    async run(
      { conversations, orchestrator }: Polyphony,
      definition: FlowDefinitionInput,
      options: Omit<ExecuteFlowOptions, 'input'> = {},
    ): Promise<FlowExecutionResult> {
      const thread = await conversations.createThread('ada')
      const flow = await orchestrator.createFlow(thread.id, 'ada', definition)
      return orchestrator.executeFlow(flow.id, 'ada', { input: 'Say something.', ...options })
    },
    async end(): Promise<number> {
      for (const polyphony of opened) await polyphony.close()
      const left = await endLeftProcesses(WORLD, world)
      rmSync(folder, { recursive: true, force: true })
      return left.length
    },
  }
}
