import {
  Agent,
  type AgentOptions,
  createScriptedProvider,
  type ModelRequest,
  type OrchestratorConfig,
  type PolyphonyConfigInput,
} from 'polyphony'
import { onTestFinished } from 'vitest'
import { type Clock, systemClock } from '../../src/async/clock.ts'
import { createOrchestratorDeps } from '../../src/facades/orchestrator/main.ts'
import { AgentOrchestrator } from '../../src/facades/orchestrator/orchestrator.ts'

type Replies = Parameters<typeof createScriptedProvider>[0]['replies']

/** A started orchestrator over a Polyphony in memory with scripted providers, by id; it stops when its test ends. `clock`: its time and chance. */
export async function openOrchestrator(
  providers: Readonly<Record<string, Replies>>,
  config: OrchestratorConfig = {},
  polyphony: PolyphonyConfigInput = {},
  clock: Clock = systemClock,
): Promise<AgentOrchestrator> {
  const scripted = Object.entries(providers).map(([id, replies]) => [id, createScriptedProvider({ id, replies })])
  const opened = { database: 'memory://', ...polyphony, providers: Object.fromEntries(scripted) }
  const orchestrator = new AgentOrchestrator({ ...config, polyphony: opened }, createOrchestratorDeps(clock))
  onTestFinished(() => orchestrator.stop())
  await orchestrator.start()
  return orchestrator
}

/** An agent of the model `alpha/<id>`. */
export const agent = (id: string, more: Partial<AgentOptions> = {}): Agent =>
  new Agent({ id, name: `Agent ${id}`, instructions: `You are ${id}.`, model: `alpha/${id}`, ...more })

/** System prompt and messages of a request. */
export const textOf = ({ system, messages }: ModelRequest): string => JSON.stringify([system, messages])

/** A promise with the function that resolves it. */
export function createGate() {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}
