import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { isRecord } from '../vendor/foreign-json.ts'
import { toJsonValue } from './json-value.ts'
import type { SimulatedVerdict } from './scenario.ts'
import type { SimulatedRequest } from './simulated-request.ts'
import { isVerdictSchema, sayVerdict, wantsJson } from './verdict-text.ts'

/**
 * An answer to a request without a scenario, so that every flow completes: JSON that fits the schema, a verdict, a
 * label of a closed list, or a text that says it is simulated. Texts have a version that rises when a step builds on
 * another, so that critics and evaluators find an issue first and approve later. Never names the model, because panels
 * are anonymous.
 */
export function genericText(request: SimulatedRequest): string {
  const { system, prompt } = request
  const schema = request.schema ?? schemaInWords(prompt)
  if (schema) {
    return isVerdictSchema(schema) ? sayVerdict(verdictOn(prompt), { ...request, schema }) : JSON.stringify(toJsonValue(schema))
  }
  const instructions = `${system}\n${prompt}`
  const label = findLabel(instructions, subjectOf(prompt))
  if (label) return label
  const wantsVerdict =
    /You (review|score) a draft/.test(system) || (wantsJson(request) && /\b(approved|score)\b/i.test(instructions))
  if (wantsVerdict) return sayVerdict(verdictOn(prompt), request)
  const text = versionedText(prompt)
  return wantsJson(request) ? JSON.stringify({ answer: text }) : text
}

/** The schema that a prompt ends with, where a flow asks for JSON in words, so that a text is accepted as well. */
function schemaInWords(prompt: string): JsonSchema | undefined {
  const [, text = ''] = /fits this JSON Schema:\n(\{.*\})\s*$/.exec(prompt) ?? []
  try {
    const schema: unknown = JSON.parse(text)
    return isRecord(schema) ? schema : undefined
  } catch {
    return undefined
  }
}

const versionIn = (prompt: string): number =>
  Math.max(0, ...[...prompt.matchAll(/Simulated text, version (\d{1,3})\b/g)].map(([, version]) => Number(version)))

function versionedText(prompt: string): string {
  const version = versionIn(prompt) + 1
  const made =
    version === 1
      ? 'It makes a claim and gives no reason for it.'
      : `It builds on version ${version - 1} and gives the reason that was missing.`
  return `Simulated text, version ${version}, on "${subjectOf(prompt)}". ${made} A real model would answer here.`
}

function verdictOn(prompt: string): SimulatedVerdict {
  const version = Math.max(1, versionIn(prompt))
  const approved = version > 1
  return {
    approved,
    score: Math.min(0.95, 0.5 + 0.2 * (version - 1)),
    issues: approved ? [] : ['"It makes a claim and gives no reason for it": give the reason.'],
    feedback: `Simulated verdict on version ${version}: ${approved ? 'the reason is there now.' : 'a reason is missing.'}`,
  }
}

/** The subject of a request on one line of at most 80 characters: the first fenced text, otherwise the prompt. */
function subjectOf(prompt: string): string {
  const fenced = /^\[begin [^\n]*\]\n([\s\S]*?)\n\[end /m.exec(prompt)?.[1]
  const line = (fenced ?? prompt).replace(/\s+/g, ' ').trim()
  return line.length > 80 ? `${[...line].slice(0, 80).join('')}…` : line
}

/** The label for a request to choose one word of a closed list. */
function findLabel(instructions: string, subject: string): string | undefined {
  const choice = /\b(exactly one|only one|one of (?:these|the)|one word)\b[^:\n]*:?([^\n]*)/i.exec(instructions)
  if (!choice) return undefined
  const capitals = [...new Set(instructions.match(/\b[A-Z][A-Z_]{3,}\b/g))].filter((word) => word !== 'JSON')
  const named = (choice[2] ?? '').split(/,|\bor\b/).map((word) => word.replace(/[^\p{L}\p{N}_ -]/gu, '').trim())
  const labels = capitals.length > 1 ? capitals : named.filter((word) => /^\S{2,30}$/.test(word))
  if (labels.length < 2) return undefined
  const hinted = labels.find((label) => HINTS[label.toUpperCase()]?.test(subject))
  return hinted ?? labels.find((label) => /^(GENERAL|OTHER)$/i.test(label)) ?? labels[0]
}

const HINTS: Readonly<Record<string, RegExp>> = {
  TECHNICAL: /code|server|bug|error|memory|function|\bapi\b|database|algorithm|software|physics|equation|program|typescript/i,
  CREATIVE: /poem|story|haiku|slogan|song|novel|invent|name for/i,
  ANALYTICAL: /compare|decide|should|pros|analy[sz]e|weigh|versus|\bvs\b|better/i,
}
