import { needsSomebody, takesDecision } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { SignalAnswer } from '../../orchestrator/waiting/signals.ts'
import type { WaitingStep } from '../../orchestrator/waiting/waiting-list.ts'
import { toPlainLine, toPlainText } from '../plain-text.ts'
import type { CommandContext, OpenServices } from '../services.ts'

/** Asks one question after another on the terminal. Each resolves with undefined when the user leaves. */
export interface Prompts {
  choose(message: string, options: readonly { readonly value: string; readonly label: string }[]): Promise<string | undefined>
  enter(message: string, initialValue?: string): Promise<string | undefined>
}

interface PausedRun {
  readonly flowId: string
  readonly userId: string
}

type Deciding = Pick<CommandContext, 'terminal' | 'json'>

/**
 * Asks the local user for every decision that a paused flow waits for, and passes the answers on. Rejects with
 * FLOW_PAUSED, which names the commands to continue with, if there is no terminal or the user leaves.
 */
export async function decideWaiting(
  { terminal, json }: Deciding,
  { orchestrator }: Pick<OpenServices, 'orchestrator'>,
  { flowId, userId }: PausedRun,
  prompts: () => Promise<Prompts> = createPrompts,
): Promise<void> {
  const open = (await orchestrator.listWaiting(userId, { flowId })).filter(needsSomebody)
  if (open.length === 0) return
  const decidable = open.filter((step) => takesDecision(step) && step.mayAnswer)
  if (!terminal.canAsk || json || decidable.length === 0) throw stillPaused(flowId, open)
  const ask = await prompts()
  for (const step of decidable) {
    terminal.print(`\n${toPlainText(step.prompt ?? '')}`)
    if (step.show !== undefined) terminal.print(`\n${toPlainText(step.show)}\n`)
    const answer = await askDecision(ask, step)
    if (!answer) throw stillPaused(flowId, open)
    await orchestrator.signal(flowId, userId, step.path, { ...answer, hash: step.hash }).catch((error: unknown) => {
      // Somebody else was faster, or the time was over.
      if (!OrchestratorError.is(error) || (error.code !== 'APPROVAL_DECIDED' && error.code !== 'APPROVAL_EXPIRED')) throw error
      terminal.warn(`${error.code}: ${error.message}`)
    })
  }
}

async function askDecision({ choose, enter }: Prompts, { path, show, schema }: WaitingStep): Promise<SignalAnswer | undefined> {
  const choice = await choose(`Step "${toPlainLine(path)}"`, [
    { value: 'approve', label: 'Approve' },
    ...(show === undefined ? [] : [{ value: 'edit', label: 'Change the text and approve' }]),
    { value: 'reject', label: 'Reject' },
  ])
  if (choice === undefined) return undefined
  if (choice === 'reject') return { approved: false }
  const edit = choice === 'edit' ? await enter('The new text', show) : undefined
  if (choice === 'edit' && edit === undefined) return undefined
  const answer = { approved: true, ...(edit !== undefined && { edit }) }
  if (!schema) return answer
  const data = await enter(`Data as JSON of the schema ${JSON.stringify(schema)}`)
  return data === undefined ? undefined : { ...answer, data: parseData(data) }
}

function parseData(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new OrchestratorError('INPUT_INVALID', `data: expected JSON, found ${JSON.stringify(text.slice(0, 40))}`, { cause })
  }
}

/** The error that leaves a flow paused, with the commands to continue with. */
function stillPaused(flowId: string, open: readonly WaitingStep[]): OrchestratorError {
  const lines = open.map(({ path, kind, event, correlation, prompt = '' }) =>
    !takesDecision({ kind })
      ? `step "${toPlainLine(path)}" waits for ${kind === 'caller' ? 'the result of a tool' : 'an event'}:\n  ${toEventCommand(event, correlation)}`
      : `step "${toPlainLine(path)}" waits for a decision: ${toPlainLine(prompt)}\n  polyphony flows approve ${flowId} ${quote(path)}`,
  )
  const paths = open.map(({ path }) => path)
  return new OrchestratorError('FLOW_PAUSED', `the flow waits\n${lines.join('\n')}`, { details: { flowId, paths } })
}

const toEventCommand = (event = '', correlation?: string): string =>
  `polyphony flows signal-event ${quote(event)}${correlation === undefined ? '' : ` --correlation ${quote(correlation)}`}`

/** A word of a command line: brackets and blanks mean something to shells. */
const quote = (word: string): string => (/^[\w./:@-]+$/.test(word) ? word : `'${toPlainLine(word).replaceAll("'", "'\\''")}'`)

async function createPrompts(): Promise<Prompts> {
  const { isCancel, select, text } = await import('@clack/prompts')
  return {
    async choose(message, options) {
      const chosen = await select<string>({ message, options: [...options] })
      return isCancel(chosen) ? undefined : chosen
    },
    async enter(message, initialValue) {
      const entered = await text({ message, ...(initialValue !== undefined && { initialValue }) })
      return isCancel(entered) ? undefined : entered
    },
  }
}
