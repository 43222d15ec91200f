import { realpathSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { type FlowExecutionResult, OrchestratorError } from 'polyphony'

/** Options of every example. */
export interface ExampleOptions {
  /** Receives the lines of the example. Default: the console. */
  readonly log?: (line: string) => void
  /**
   * Whether to call real vendors with the keys of the environment, which costs money. Default: the bundled simulator.
   */
  readonly real?: boolean
}

/** Runs an example if its file was started directly; `--real` calls real vendors. */
export async function runDirectly(moduleUrl: string, main: (options: ExampleOptions) => Promise<unknown>): Promise<void> {
  const [, started = ''] = process.argv
  if (started === '' || pathToFileURL(realpathSync(started)).href !== moduleUrl) return
  try {
    await main({ real: process.argv.includes('--real') })
  } catch (error) {
    if (!OrchestratorError.is(error)) throw error
    console.error(`${error.code}: ${error.message}\n${error.facts.remedy}`)
    process.exitCode = error.facts.exitCode
  }
}

/** Prints the ledger of a flow: tokens and cost of each step, and their sums. */
export function logLedger({ steps, totalCost, totalTokens }: FlowExecutionResult, log: (line: string) => void): void {
  for (const { stepId, status, provider, usage, cost, costSource, turns, attempts } of steps) {
    const price = cost === undefined ? 'cost unknown' : `$${cost.toFixed(5)} (${costSource})`
    const details = [`${usage?.totalTokens ?? 0} tokens`, price, ...(turns ? [`${turns} ${turns === 1 ? 'turn' : 'turns'}`] : [])]
    log(`  ${stepId.padEnd(9)} ${attempts.length === 0 ? `${status}, no call` : `${provider}: ${details.join(', ')}`}`)
  }
  log(`  total     $${totalCost.toFixed(5)} for ${totalTokens} tokens`)
}
