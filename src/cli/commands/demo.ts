import { Argument } from 'commander'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { toPlainLine, toPlainText } from '../plain-text.ts'
import { runFlow, showResult } from '../run-flow.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  DEMO_USER,
  LOCAL_USER,
  type OpenServices,
  toFlags,
  withRunningServices,
} from '../services.ts'

const TEMPLATE = 'critique'

/** The simulator answers one call with 429; short delays keep the demo short. */
const RETRY = { baseDelayMs: 200, maxDelayMs: 1_000 }

/**
 * `polyphony demo`: runs the critique template from end to end with the bundled simulator; `polyphony demo services`
 * kills a model server in the middle of a flow.
 */
export const demoCommand = defineCommand<DatabaseOptions>({
  name: 'demo',
  description: 'run the critique template with the bundled simulator, or kill a model server in a flow; needs no key',
  configure: (command) =>
    command
      .addArgument(new Argument('[subject]', 'services: supervised model servers').choices(['services']))
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options, subject: string | undefined) {
    if (subject === 'services') return (await import('../demo/services-demo.ts')).runServicesDemo(context)
    const { terminal, json } = context
    const { DEFAULT_MODELS, getFlowTemplate, listFlowTemplates } = await import('../../../templates/index.ts')
    const all = listFlowTemplates()
    const prompt = all.find(({ name }) => name === TEMPLATE)?.example ?? ''
    if (!json) {
      const { style } = terminal
      terminal.print(`${style(['black', 'bgYellow'], ' SIMULATED ')} The bundled simulator invents every answer below.`)
      terminal.print('SDKs, engine and database are the real ones. No key is used and nothing is paid.\n')
      terminal.print(`${style('bold', 'Prompt')}  ${prompt}\n`)
    }
    await withRunningServices(context, { ...toFlags(options), simulator: true, retry: RETRY }, async (open) => {
      const definition = getFlowTemplate(TEMPLATE)
      const result = await runDemo(context, open, definition, prompt)
      showPlantedFaults(context, result)
      showResult(context, result, { notes: false })
      const realRun = toRealRun(open, definition, DEFAULT_MODELS)
      if (!json) showNextCommands(context, result.flowId, all.length, realRun)
    })
  },
})

async function runDemo(
  context: CommandContext,
  open: OpenServices,
  definition: FlowDefinitionInput,
  prompt: string,
): Promise<FlowExecutionResult> {
  const { allowNeeded, neededSharing } = await import('../questions/sharing.ts')
  const { orchestrator, conversations, dataSharing, permissions } = open
  const thread = await conversations.createThread(DEMO_USER, { title: 'Demo (simulated)' })
  await permissions.grant(thread.id, DEMO_USER, LOCAL_USER, ['read', 'write'])
  await allowNeeded(dataSharing, DEMO_USER, neededSharing(await orchestrator.checkFlow(definition, DEMO_USER)))
  const flow = await orchestrator.createFlow(thread.id, DEMO_USER, definition)
  const run = { flowId: flow.id, userId: DEMO_USER, title: flow.name, input: prompt, streaming: true }
  return runFlow(context, open, run)
}

/** Shows the two planted faults, a false statement and a 429, and how the run dealt with them. */
function showPlantedFaults({ terminal, json }: CommandContext, { steps }: FlowExecutionResult): void {
  if (json) return
  const { style } = terminal
  const draft = steps.find(({ action }) => action === 'generate')
  const critique = steps.find(({ action }) => action === 'critique')
  const show = (title: string, text: string) => terminal.print(`\n${style('bold', title)} (simulated)\n\n${toPlainText(text)}`)
  show('Draft, with a false statement planted in it', draft?.output ?? '')
  const issues = issuesOf(critique?.parsed)
  show('Review by the critic', issues.length > 0 ? issues.map((issue) => `- ${issue}`).join('\n') : (critique?.output ?? ''))
  for (const { number, error } of critique?.attempts ?? []) {
    if (error)
      terminal.print(`\nAttempt ${number} of the critic failed with ${error.code}, also planted; the next one succeeded.`)
  }
}

function issuesOf(verdict: unknown): readonly string[] {
  if (typeof verdict !== 'object' || verdict === null || !('issues' in verdict) || !Array.isArray(verdict.issues)) return []
  return verdict.issues.filter((issue) => typeof issue === 'string')
}

/** The command that runs the template with real models; `undefined` if no key is configured. */
function toRealRun(
  { config }: OpenServices,
  { steps }: FlowDefinitionInput,
  defaultModels: Readonly<Record<string, { readonly strong: string }>>,
): readonly [command: string, purpose: string] | undefined {
  const keyed = Object.entries(config.providers).flatMap(([id, account]) =>
    ('apiKey' in account && account.apiKey) || ('apiKeys' in account && account.apiKeys) ? [id] : [],
  )
  const [first] = keyed
  if (first === undefined) return undefined
  const purpose = `runs it with real models: keys are configured for ${keyed.join(', ')}`
  const missing = steps.some(({ provider = '' }) => !keyed.includes(provider))
  if (!missing) return [`run ${TEMPLATE} "Your question"`, purpose]
  const [id, models] = Object.entries(defaultModels).find(([known]) => keyed.includes(known)) ?? [first, { strong: '<model>' }]
  return [`run ${TEMPLATE} "Your question" --model ${id}/${models.strong}`, purpose]
}

const SIMULATED_RUN = [
  'run consensus "Your question" --simulate --allow-sharing',
  'runs another template; for real models set a key and omit --simulate',
] as const

/**
 * The words that start this program in the present environment, for commands that the user can copy. The path of the
 * program shows whether a package manager installed it for a single run (`dlx`). `npm run` works only in the package
 * itself.
 */
export function toCommand(environment: NodeJS.ProcessEnv, program = ''): string {
  const { npm_lifecycle_event: event, npm_package_name: name, npm_config_user_agent: agent } = environment
  const manager = agent?.split('/')[0]
  const isSingleRun = /[\\/](\.?dlx|dlx-[^\\/]+)[\\/]/.test(program)
  if (manager === 'pnpm' || manager === 'yarn') return `${manager}${isSingleRun ? ' dlx' : ''} polyphony`
  if (event === undefined) return 'polyphony'
  return event !== 'npx' && name === 'polyphony' ? 'npm run -s polyphony --' : 'npx polyphony'
}

function showNextCommands(
  { terminal }: CommandContext,
  flowId: string,
  templateCount: number,
  run: readonly [string, string] = SIMULATED_RUN,
): void {
  const polyphony = toCommand(process.env, process.argv[1])
  const commands = [
    [`flows show ${flowId}`, 'shows everything stored about this run'],
    run,
    ['templates', `lists all ${templateCount} templates`],
  ] as const
  terminal.print(`\n${terminal.style('bold', 'Next')}`)
  for (const [words, purpose] of commands) {
    terminal.print(`  ${terminal.style('cyan', `${polyphony} ${toPlainLine(words)}`)}\n      ${toPlainLine(purpose)}`)
  }
}
