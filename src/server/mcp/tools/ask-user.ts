import { type InputRequests, inputRequired, inputResponse } from '@modelcontextprotocol/server'
import * as z from 'zod'
import { takesDecision } from '../../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { SignalAnswer } from '../../../orchestrator/waiting/signals.ts'
import type { WaitingStep } from '../../../orchestrator/waiting/waiting-list.ts'
import { requireScope } from '../../access/caller.ts'
import type { ToolInvocation } from './tool.ts'

/** Characters that a form shows. A longer text gets no form, because the user would not see all of it. */
const MAX_SHOWN = 20_000

const form = z.object({ approved: z.boolean(), edit: z.string().optional(), data: z.string().optional() })

/**
 * Forms for the decisions that a flow waits for and that the caller may make; undefined if there are none or the client
 * cannot show them. Each is named by the hash of what it shows, so that its answer counts for nothing else.
 */
export function questionsOf(call: ToolInvocation, waiting: readonly WaitingStep[]): InputRequests | undefined {
  if (!call.canAskUser || !call.caller.scopes.includes('execute')) return undefined
  const asked = waiting.filter((step) => step.mayAnswer && takesDecision(step) && (step.show?.length ?? 0) <= MAX_SHOWN)
  return asked.length === 0 ? undefined : Object.fromEntries(asked.map((step) => [step.hash, toForm(step)]))
}

const toForm = ({ path, prompt = '', show, schema }: WaitingStep) =>
  inputRequired.elicit({
    message: [`Step "${path}" asks: ${prompt}`, ...(show === undefined ? [] : [show])].join('\n\n'),
    requestedSchema: {
      type: 'object',
      properties: {
        approved: { type: 'boolean', title: 'Approve' },
        ...(show !== undefined && { edit: { type: 'string', title: 'Replace the text by', description: 'Empty: it stays' } }),
        data: schema
          ? { type: 'string', title: 'Data as JSON', description: JSON.stringify(schema) }
          : { type: 'string', title: 'Comment' },
      },
      required: ['approved'],
    },
  })

/**
 * Passes the answers of the user on to the steps for which they were asked. A form that the user has declined decides
 * nothing. Resolves with the number of decisions; undefined if the call came without forms. Rejects as `signal` does.
 */
export async function takeAnswers(call: ToolInvocation, flowId: string): Promise<number | undefined> {
  const { userAnswers, deps, caller } = call
  if (!userAnswers || Object.keys(userAnswers).length === 0) return undefined
  const waiting = await deps.orchestrator.listWaiting(caller.userId, { flowId })
  let decisions = 0
  for (const { path, hash, schema } of waiting) {
    const answered = inputResponse(userAnswers, hash)
    if (answered.kind !== 'elicit' || answered.action !== 'accept') continue
    const read = form.safeParse(answered.content)
    if (!read.success)
      throw new OrchestratorError('INPUT_INVALID', `The form for step "${path}": expected { approved, edit, data }`)
    requireScope(caller, 'execute')
    await deps.orchestrator.signal(flowId, caller.userId, path, { ...toAnswer(read.data, schema !== undefined), hash })
    decisions++
  }
  return decisions
}

function toAnswer({ approved, edit, data }: z.output<typeof form>, isJson: boolean): SignalAnswer {
  const given = data === undefined || data === '' ? undefined : isJson ? parseData(data) : data
  return { approved, ...(edit !== undefined && edit !== '' && { edit }), ...(given !== undefined && { data: given }) }
}

function parseData(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new OrchestratorError('INPUT_INVALID', 'data: expected JSON')
  }
}
