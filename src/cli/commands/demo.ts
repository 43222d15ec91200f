import { DEFAULT_MODELS, getFlowTemplate, listFlowTemplates } from '../../../templates/index.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import { toPlainLine, toPlainText } from '../plain-text.ts'
import { runFlow, showResult } from '../run-flow.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  DEMO_USER,
  LOCAL_USER,
  type OpenServices,
  toFlags,
  withServices,
} from '../services.ts'
import { neededSharing } from '../sharing.ts'

const TEMPLATE = 'critique'

/** The planted 429 is waited for, but not for long. */
const RETRY = { baseDelayMs: 200, maxDelayMs: 1_000 }

/** `polyphony demo`: the critique template from end to end, answered by the bundled simulator. */
export async function demoCommand(context: CommandContext, options: DatabaseOptions): Promise<void> {
  const { terminal, json } = context
  const prompt = listFlowTemplates().find(({ name }) => name === TEMPLATE)?.example ?? ''
  if (!json) {
    const { style } = terminal
    terminal.print(`${style(['black', 'bgYellow'], ' SIMULATED ')} Every answer below is invented by the bundled simulator.`)
    terminal.print('The SDKs, the engine and the database are the real ones. No key is used, nothing is paid.\n')
    terminal.print(`${style('bold', 'Prompt')}  ${prompt}\n`)
  }
  await withServices(context, { ...toFlags(options), simulator: true, retry: RETRY }, async (open) => {
    const definition = getFlowTemplate(TEMPLATE)
    const result = await runDemo(context, open, definition, prompt)
    showWhatHappened(context, result)
    showResult(context, result, { notes: false })
    if (!json) showNext(context, result.flowId, toRealRun(open, definition))
  })
}

async function runDemo(
  context: CommandContext,
  open: OpenServices,
  definition: FlowDefinitionInput,
  prompt: string,
): Promise<FlowExecutionResult> {
  const { orchestrator, conversations, dataSharing, permissions } = open
  const thread = await conversations.createThread(DEMO_USER, { title: 'Demo (simulated)' })
  await permissions.grant(thread.id, DEMO_USER, LOCAL_USER, ['read', 'write'])
  for (const { to } of neededSharing(await orchestrator.checkFlow(definition, DEMO_USER))) {
    await dataSharing.set(DEMO_USER, to, { allowCrossProviderContext: true })
  }
  const flow = await orchestrator.createFlow(thread.id, DEMO_USER, definition)
  const run = { flowId: flow.id, userId: DEMO_USER, title: flow.name, input: prompt, streaming: true }
  return runFlow(context, open, run)
}

/** The two faults that are planted, and what became of them. */
function showWhatHappened({ terminal, json }: CommandContext, { steps }: FlowExecutionResult): void {
  if (json) return
  const { style } = terminal
  const draft = steps.find(({ action }) => action === 'generate')
  const critique = steps.find(({ action }) => action === 'critique')
  const show = (title: string, text: string) => terminal.print(`\n${style('bold', title)} (simulated)\n\n${toPlainText(text)}`)
  show('Draft, with a false statement planted in it', draft?.output ?? '')
  const issues = issuesOf(critique?.parsed)
  show('What the critic found', issues.length > 0 ? issues.map((issue) => `- ${issue}`).join('\n') : (critique?.output ?? ''))
  for (const { number, error } of critique?.attempts ?? []) {
    if (error) terminal.print(`\nTry ${number} of the critic met ${error.code}, planted too; the next one answered.`)
  }
}

function issuesOf(verdict: unknown): readonly string[] {
  if (typeof verdict !== 'object' || verdict === null || !('issues' in verdict) || !Array.isArray(verdict.issues)) return []
  return verdict.issues.filter((issue) => typeof issue === 'string')
}

/** The same template with real models, as far as keys are there. */
function toRealRun(
  { config }: OpenServices,
  { steps }: FlowDefinitionInput,
): readonly [command: string, purpose: string] | undefined {
  const keyed = Object.entries(config.providers).flatMap(([id, account]) => ('apiKey' in account && account.apiKey ? [id] : []))
  const [first] = keyed
  if (first === undefined) return undefined
  const purpose = `real models are available: there are keys for ${keyed.join(', ')}`
  const missing = steps.some(({ provider = '' }) => !keyed.includes(provider))
  if (!missing) return [`run ${TEMPLATE} "Your question"`, purpose]
  const [id, models] = Object.entries(DEFAULT_MODELS).find(([known]) => keyed.includes(known)) ?? [first, { strong: '<model>' }]
  return [`run ${TEMPLATE} "Your question" --model ${id}/${models.strong}`, purpose]
}

const SIMULATED_RUN = [
  'run consensus "Your question" --simulate --allow-sharing',
  'another template; for real models set a key and leave --simulate out',
] as const

/**
 * How this program is called here. `program`: its path, which shows whether a package manager has put it there for once. Scripts of npm are this
 * package's own only where the package of the folder is this one.
 */
export function toCommand(environment: NodeJS.ProcessEnv, program = ''): string {
  const { npm_lifecycle_event: event, npm_package_name: name, npm_config_user_agent: agent } = environment
  const manager = agent?.split('/')[0]
  const isForOnce = /[\\/](\.?dlx|dlx-[^\\/]+)[\\/]/.test(program)
  if (manager === 'pnpm' || manager === 'yarn') return `${manager}${isForOnce ? ' dlx' : ''} polyphony`
  if (event === undefined) return 'polyphony'
  return event !== 'npx' && name === 'polyphony' ? 'npm run -s polyphony --' : 'npx polyphony'
}

function showNext({ terminal }: CommandContext, flowId: string, run: readonly [string, string] = SIMULATED_RUN): void {
  const polyphony = toCommand(process.env, process.argv[1])
  const commands = [[`flows show ${flowId}`, 'what is stored of this run'], run, ['templates', 'all seven templates']] as const
  terminal.print(`\n${terminal.style('bold', 'Next')}`)
  for (const [words, purpose] of commands) {
    terminal.print(`  ${terminal.style('cyan', `${polyphony} ${toPlainLine(words)}`)}\n      ${toPlainLine(purpose)}`)
  }
}
