import { genericText } from './generic-text.ts'
import { toJsonValue } from './json-value.ts'
import type { ScenarioReply, SimulatedScenario } from './scenario.ts'
import type { SimulatedRequest, SimulatedTool } from './simulated-request.ts'
import { sayVerdict, wantsJson } from './verdict-text.ts'

export interface FoundReply {
  readonly text: string
  readonly inputTokens: number
  readonly outputTokens: number
  readonly rateLimited: boolean
  /** Present if the answer calls a tool. The text is empty then. */
  readonly toolCall?: { readonly name: string; readonly arguments: string }
}

/**
 * The reply to a request: a call of the tool that should be called, with invented arguments that fit its schema,
 * otherwise the first matching reply of the scenarios with its topic, otherwise a generic text.
 */
export function findReply(request: SimulatedRequest, scenarios: readonly SimulatedScenario[]): FoundReply {
  if (request.tool) return toToolReply(request, request.tool)
  const words = request.text.toLowerCase()
  const reply = scenarios
    .filter(({ topic }) => words.includes(topic))
    .flatMap((scenario) => scenario.replies.filter((reply) => fits(reply, scenario, request)))[0]
  const text = reply ? toText(reply, request) : genericText(request)
  return {
    text,
    inputTokens: estimateTokens(request.text),
    outputTokens: estimateTokens(text),
    rateLimited: reply?.rateLimited ?? false,
  }
}

function toToolReply(request: SimulatedRequest, { name, parameters }: SimulatedTool): FoundReply {
  const given = JSON.stringify(toJsonValue({ type: 'object', ...parameters }))
  return {
    text: '',
    inputTokens: estimateTokens(request.text),
    outputTokens: estimateTokens(name + given),
    rateLimited: false,
    toolCall: { name, arguments: given },
  }
}

function fits({ role, when, vendor }: ScenarioReply, scenario: SimulatedScenario, request: SimulatedRequest): boolean {
  if (vendor !== undefined && vendor !== request.vendor) return false
  if (role === undefined ? !isPlain(request, scenario) : !`${request.system}\n${request.prompt}`.includes(role)) return false
  return (when ?? []).every((phrase) => request.prompt.includes(phrase))
}

/** Whether a request holds only the prompt of a scenario, perhaps slightly reworded, without further material. */
const isPlain = ({ schema, prompt }: SimulatedRequest, scenario: SimulatedScenario): boolean =>
  schema === undefined && !prompt.includes('[begin ') && prompt.length < scenario.prompt.length * 2

function toText({ says, broken }: ScenarioReply, request: SimulatedRequest): string {
  if (typeof says === 'string') return says
  if (typeof says === 'function') return says(request)
  const verdict = sayVerdict(says, request)
  return broken && wantsJson(request) ? breakJson(verdict) : verdict
}

/** Adds an unclosed code fence and a trailing comma: strict parsers reject the text, but it can be repaired. */
const breakJson = (json: string): string => `Here is my verdict:\n\`\`\`json\n${json.slice(0, -1)},}`

/** About four characters per token, as in English text. */
const estimateTokens = (text: string): number => Math.ceil(text.length / 4)
