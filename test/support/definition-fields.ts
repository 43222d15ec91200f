import type { JsonSchema } from '../../src/domain/execution/model-call.ts'

/** What the page about definitions says of one field. Its values, bounds and defaults come from the schema. */
export interface FieldText {
  readonly text: string
  /** The field as YAML; for a field that only code can give, as it stands in an object literal. */
  readonly example: string
  /** The value is a function: there is no YAML for it. */
  readonly isCode?: true
}

/** By the path of the field. A field of the schema without an entry here fails the test of the page. */
export const FIELD_TEXTS: Readonly<Record<string, FieldText>> = {
  name: { text: 'Name of the flow.', example: 'name: review' },
  description: { text: 'What the flow is for, in words for people.', example: 'description: Reviews a press release' },
  version: {
    text: 'Version of a definition that holds functions: `registerFlow` finds it by name and version.',
    example: 'version: "2"',
  },
  type: { text: 'The flow type: the rule by which the steps take place.', example: 'type: sequential' },
  steps: {
    text: 'The steps; in most flow types they run in this order.',
    example: 'steps: [{ id: a, model: openai/gpt-6-sol, action: generate }]',
  },
  input: {
    text: 'The prompt, where `executeFlow` gives none. Without either, the newest user message of the thread.',
    example: 'input: Why is the sky blue?',
  },
  contextPolicy: {
    text: 'What steps may see, as the author of the definition decides. The policies of the user apply besides.',
    example: 'contextPolicy: { shareConversationHistory: true }',
  },
  limits: { text: 'What the flow may spend or do, over all its executions.', example: 'limits: { maxCostUsd: 0.5 }' },
  callerTools: {
    text: 'Tools that the caller of the flow runs. The flow waits at a call of one for its result ([tools.md](tools.md#caller-tools)).',
    example: 'callerTools: [{ name: weather }]',
  },
  'callerTools[].name': { text: 'Name for the model. Steps name the tool `caller/<name>`.', example: 'name: weather' },
  'callerTools[].description': { text: 'What the tool does, for the model.', example: 'description: Weather of a city' },
  'callerTools[].parameters': {
    text: 'JSON Schema of the arguments, an object. Without it the tool has none.',
    example: 'parameters: { type: object, properties: { city: { type: string } } }',
  },
  maxExecutionTime: {
    text: 'Milliseconds for one execution. Over it the flow ends with `FLOW_TIMEOUT`.',
    example: 'maxExecutionTime: 600000',
  },
  onStepComplete: {
    text: 'Called with every step result that was recorded. What it throws is ignored.',
    example: 'onStepComplete: (result) => console.log(result.stepId, result.cost)',
    isCode: true,
  },
  onFlowComplete: {
    text: 'Called with the result of a flow that completed. What it throws is ignored.',
    example: 'onFlowComplete: (result) => console.log(result.finalOutput)',
    isCode: true,
  },
  onError: {
    text: 'Called with the error of a flow that failed. What it throws is ignored.',
    example: 'onError: (error) => console.error(error.code, error.stepId)',
    isCode: true,
  },
  'onStepComplete.function': { text: 'Name of a registered function, in place of code.', example: 'function: noteStep' },
  'onFlowComplete.function': { text: 'Name of a registered function, in place of code.', example: 'function: noteFlow' },
  'onError.function': { text: 'Name of a registered function, in place of code.', example: 'function: noteError' },
  parallel: {
    text: 'Settings of the flow types `parallel` and `graph`.',
    example: 'parallel: { maxConcurrency: 2 }',
  },
  conditional: { text: 'Settings of the flow type `conditional`.', example: 'conditional: { match: all }' },
  critique: { text: 'Settings of the flow type `critique`.', example: 'critique: { rounds: 2 }' },
  refinement: { text: 'Settings of the flow type `refinement`.', example: 'refinement: { qualityThreshold: 0.9 }' },

  'steps[].id': {
    text: 'How other steps name this one. A letter, then letters, digits, `_` or `-`; not `previous`, `original` or `all`.',
    example: 'id: draft',
  },
  'steps[].name': { text: 'Name for people.', example: 'name: First draft' },
  'steps[].provider': {
    text: 'Id of the provider, where `model` does not hold it. With both fields the model may contain slashes.',
    example: 'provider: openai',
  },
  'steps[].model': {
    text: 'The model, as `provider/model` (split at the first slash) or alone beside `provider`. Not needed with an `agent` that has one.',
    example: 'model: openai/gpt-6-sol',
  },
  'steps[].action': {
    text: 'What the step does with text. It supplies the prompt of a step without one, and in loops the role: the first `generate` drafts, `critique`, `evaluate` and `validate` review, the last `refine` revises. `approve` and `wait` pause the flow and have no model.',
    example: 'action: critique',
  },
  'steps[].agent': {
    text: 'A named agent: its model, system prompt and settings apply where the step says nothing. Built in are `frontend`, `backend`, `qa`, `debugger` and `coordinator`; `agents` in the configuration and `polyphony.agents.register` add more.',
    example: 'agent: qa',
  },
  'steps[].needs': {
    text: 'Capabilities, all of which the agent must have. Without `agent`, one that has them is chosen, by the weights of the agents; the same step always gets the same one.',
    example: 'needs: [testing, review]',
  },
  'steps[].prompt': {
    text: 'A Liquid template, `{ function: <name> }` for a registered function, or in code a function; `original` alone sends the prompt of the user. Default: an instruction for the action. What the prompt does not mention itself (the original, the input) is appended, outputs of models fenced.',
    example: 'prompt: \'Shorten this: {{ steps.draft.output | fence: "draft" }}\'',
  },
  'steps[].system': {
    text: 'The system prompt: a Liquid template, `{ function: <name> }`, or in code a function.',
    example: 'system: You are a careful editor.',
  },
  'steps[].inputFrom': {
    text: 'Whose output is the input: the id of a step, `previous` (the nearest earlier step that succeeded), `all` or `original` (none). Default: the steps of `dependsOn`, else `previous`; in a parallel flow or graph none.',
    example: 'inputFrom: draft',
  },
  'steps[].dependsOn': {
    text: 'Ids of steps whose outputs are the input; in a parallel flow or graph the step also waits for them.',
    example: 'dependsOn: [draft, review]',
  },
  'steps[].settings': {
    text: 'Settings of the model. One that a model refuses is left out, with a note on the result.',
    example: 'settings: { temperature: 0.2 }',
  },
  'steps[].retryOnFailure': { text: '`false` turns retries off.', example: 'retryOnFailure: false' },
  'steps[].maxRetries': {
    text: 'Attempts beyond the first at each provider and model. Without it: 2.',
    example: 'maxRetries: 4',
  },
  'steps[].timeout': {
    text: 'Milliseconds for the whole step, waits and retries included. Over it the step fails with `STEP_TIMEOUT`.',
    example: 'timeout: 120000',
  },
  'steps[].idleTimeout': {
    text: 'Milliseconds without a chunk of a streamed answer, after which the attempt is given up. Without it: `timeouts.idleMs` of the configuration, or 60000.',
    example: 'idleTimeout: 20000',
  },
  'steps[].condition': {
    text: 'A CEL expression, or in code a function. The step is skipped where it is false.',
    example: "condition: steps.draft.output.contains('weather')",
  },
  'steps[].otherwise': {
    text: 'Flow type `conditional` only: this branch runs where no condition of its group is true.',
    example: 'otherwise: true',
  },
  'steps[].optional': { text: 'The flow continues if the step fails.', example: 'optional: true' },
  'steps[].fallbacks': {
    text: 'Providers and models that are asked in this order where the one before has failed.',
    example: 'fallbacks: [{ model: anthropic/claude-opus-5-5 }]',
  },
  'steps[].onUnknown': {
    text: 'What happens to a call whose outcome is unknown because the process died during it. Without it, and with `retry`, it is made again; with `ask` the flow pauses until somebody approves that (`executeStep` is an approval by itself); with `fail`, and after a rejection, the step fails with `CALL_OUTCOME_UNKNOWN`.',
    example: 'onUnknown: ask',
  },
  'steps[].fallbackAfterFirstToken': {
    text: 'Allows a retry or fallback although text was already streamed; clients then get `step_retry` with `restart: true`.',
    example: 'fallbackAfterFirstToken: true',
  },
  'steps[].samples': {
    text: 'Asks so many times and takes the answer given most often. At most ten run at once, or as many as `parallel.maxConcurrency` says. A sample that fails is named in the notes.',
    example: 'samples: 5',
  },
  'steps[].complete': {
    text: 'The step fails where its answer was cut: `OUTPUT_INVALID` at a bound of output tokens, `CONTENT_FILTERED` by a filter, `PROVIDER_BAD_REPLY` for an unknown reason. Without it the cut text is passed on, with a note on the result.',
    example: 'complete: true',
  },
  'steps[].keepReasoning': {
    text: 'Stores the reasoning that a provider sends apart from its answer. Without it only the live result and live updates hold it.',
    example: 'keepReasoning: true',
  },
  'steps[].outputSchema': {
    text: 'JSON Schema of the answer, or in code a zod schema. The value is `parsed` in the result; an answer that does not fit fails with `OUTPUT_INVALID`.',
    example: 'outputSchema: { type: object, properties: { total: { type: number } }, required: [total] }',
  },
  'steps[].tools': {
    text: 'Tools that the model may call: `function/<name>`, `<provider>/<operation>`, `<provider>/*`, `caller/<name>` for one of `callerTools`, or `hosted/<name>` for those that the vendor runs itself.',
    example: 'tools: [function/lookupPrice, hosted/web_search]',
  },
  'steps[].maxTurns': { text: 'Most calls of the model in a step with tools. Without it: 8.', example: 'maxTurns: 4' },
  'steps[].toolChoice': {
    text: '`auto`: the model decides. `required`: its first turn must call a tool. `none`: no tool. Otherwise the name of the tool that the first turn must call.',
    example: 'toolChoice: required',
  },
  'steps[].maxResultTokens': {
    text: 'Most tokens of one tool result; a longer one is cut, with a note. Without it: 8,000.',
    example: 'maxResultTokens: 2000',
  },
  'steps[].approveTools': {
    text: 'Tools whose calls a user must approve; `true` for all. A tool may need approval by itself too.',
    example: 'approveTools: [function/refund]',
  },
  'steps[].arguments': {
    text: 'For `run`: the arguments, JSON whose strings are Liquid templates. A string that is one single output keeps the type of its value.',
    example: 'arguments: { sku: "{{ steps.draft.parsed.sku }}" }',
  },
  'steps[].strict': {
    text: 'Refuses the call before it costs anything where a setting, a schema or a file would be left out with a note.',
    example: 'strict: true',
  },
  'steps[].cache': {
    text: 'Whether an answer to an equal request is served again instead of a call, for `ttlMs` milliseconds (default: `answerCache.ttlMs`) and within a `scope`: `flow`, `user` (default) or `shared` by all users. See [caching](caching.md).',
    example: 'cache: { ttlMs: 600000, scope: user }',
  },

  'steps[].approval': {
    text: 'For `approve`: what is asked. The flow pauses until somebody decides; conditions read `steps.<id>.parsed.approved`.',
    example: 'approval: { prompt: Publish this?, timeoutMs: 86400000, onTimeout: reject }',
  },
  'steps[].for': {
    text: 'For `wait`: how long, in milliseconds or as a duration of days, hours, minutes, seconds and milliseconds. One of `for`, `until` and `event`.',
    example: 'for: 1h30m',
  },
  'steps[].until': {
    text: 'For `wait`: the instant at which the flow continues, with its offset. One in the past does not pause the flow.',
    example: "until: '2027-01-31T09:00:00Z'",
  },
  'steps[].event': {
    text: 'For `wait`: the name of the event that `signalEvent` sends. What it brings is `parsed.data`.',
    example: 'event: paid',
  },
  'steps[].correlation': {
    text: 'Template of a text that the event must carry as well. Without it only events without one count.',
    example: "correlation: 'order-{{ metadata.order }}'",
  },
  'steps[].timeoutMs': {
    text: 'Milliseconds after which the step no longer waits for its event and succeeds with `parsed.timedOut`. Without it the step waits without limit.',
    example: 'timeoutMs: 3600000',
  },

  'steps[].approval.prompt': {
    text: 'The question: a Liquid template, as in prompts. It is shown to people and sent to no provider.',
    example: 'prompt: \'Publish "{{ metadata.title }}"?\'',
  },
  'steps[].approval.show': {
    text: 'The text that is decided about and may be edited: a Liquid template. It, or its edit, is the output. Without it: the input of the step.',
    example: "show: '{{ steps.draft.output }}'",
  },
  'steps[].approval.schema': {
    text: 'JSON Schema of the `data` that comes with a decision, or in code a zod schema. An approval needs data that fits; a rejection may leave it out.',
    example: 'schema: { type: object, properties: { amount: { type: number } }, required: [amount] }',
  },
  'steps[].approval.assignees': {
    text: 'Ids of the only users who may decide, if they may read the thread. The creator of the flow may decide only if listed. Without it: all who may write.',
    example: 'assignees: [ada, bob]',
  },
  'steps[].approval.timeoutMs': {
    text: 'Milliseconds until `onTimeout` decides. Without it the step waits without limit.',
    example: 'timeoutMs: 86400000',
  },
  'steps[].approval.onTimeout': {
    text: 'The decision when the time is over. Without it: `fail`, with `APPROVAL_EXPIRED`.',
    example: 'onTimeout: reject',
  },

  'steps[].settings.temperature': { text: 'Randomness of the answer.', example: 'temperature: 0.2' },
  'steps[].settings.maxTokens': { text: 'Most output tokens, reasoning included.', example: 'maxTokens: 800' },
  'steps[].settings.topP': { text: 'Share of the likeliest tokens that are considered.', example: 'topP: 0.9' },
  'steps[].settings.stopSequences': { text: 'Texts at which the answer ends.', example: 'stopSequences: [END]' },
  'steps[].settings.reasoning': {
    text: 'Effort of reasoning: `none`, `minimal`, `low`, `medium`, `high`, `max`, or `{ maxTokens }`.',
    example: 'reasoning: low',
  },
  'steps[].settings.seed': { text: 'Seed of sampling, where the vendor takes one.', example: 'seed: 7' },
  'steps[].settings.parallelToolCalls': {
    text: 'Whether one turn may call several tools.',
    example: 'parallelToolCalls: false',
  },
  'steps[].settings.cache': {
    text: 'Caching of the prompt by the vendor: `auto` where it pays, `off`, or `{ ttl }`.',
    example: 'cache: off',
  },
  'steps[].settings.options': {
    text: 'Further fields of the request body, by provider id or kind; merged last. Fields that Polyphony sets are refused.',
    example: 'options: { openai: { verbosity: low } }',
  },

  'steps[].fallbacks[].provider': {
    text: 'Id of the provider, where `model` does not hold it. Default: the provider of the step.',
    example: 'provider: anthropic',
  },
  'steps[].fallbacks[].model': { text: 'The model, as in a step.', example: 'model: claude-opus-5-5' },

  'contextPolicy.provenance': {
    text: '`joined`: an output is shared only with providers that may see everything it was made from. `direct`: only its writer counts.',
    example: 'provenance: direct',
  },
  'contextPolicy.shareConversationHistory': {
    text: 'Offers the earlier messages of the thread to the steps.',
    example: 'shareConversationHistory: true',
  },
  'contextPolicy.shareStepOutputs': {
    text: '`false` hides the outputs of steps from other steps.',
    example: 'shareStepOutputs: false',
  },
  'contextPolicy.maxSharedTokens': {
    text: 'Most tokens of history, outputs and attachments for one call. Older messages are left out first, then older outputs are shortened, with a note on the result.',
    example: 'maxSharedTokens: 4000',
  },
  'contextPolicy.includeOriginalPrompt': {
    text: 'Appends the prompt of the user to prompts that do not mention it.',
    example: 'includeOriginalPrompt: false',
  },
  'contextPolicy.preserveSystemPrompts': {
    text: 'Gives the system messages of the shared history to the models.',
    example: 'preserveSystemPrompts: true',
  },

  'limits.maxCostUsd': { text: 'US dollars over all attempts.', example: 'maxCostUsd: 0.5' },
  'limits.maxTokens': { text: 'Input and output tokens over all attempts.', example: 'maxTokens: 200000' },
  'limits.maxSteps': { text: 'Steps that may run; in loops every iteration counts.', example: 'maxSteps: 20' },

  'parallel.maxConcurrency': {
    text: 'Calls that run at once; each sample counts. Without it: all that are ready.',
    example: 'maxConcurrency: 2',
  },
  'parallel.onFailure': {
    text: '`fail`: the first failure of a step that is not optional aborts the running steps and ends the flow. `continue`: steps that have only failed inputs are skipped and all others run; the flow completes if at least one of its last steps has an output. Without it: `fail`, or `continue` where `minSuccesses` is given.',
    example: 'onFailure: continue',
  },
  'parallel.minSuccesses': {
    text: 'Branches (steps that wait for no other) that must succeed. Without it: 1 with `continue`.',
    example: 'minSuccesses: 2',
  },
  'conditional.match': {
    text: '`first`: only the first branch of a group whose condition is true runs. `all`: every such branch runs.',
    example: 'match: all',
  },
  'critique.rounds': {
    text: 'Rounds of criticism and revision at most. Ends earlier when every reviewer approves.',
    example: 'rounds: 2',
  },
  'refinement.maxIterations': {
    text: 'Revisions at most. Every draft is scored, the last one too; the best one is the output.',
    example: 'maxIterations: 5',
  },
  'refinement.qualityThreshold': { text: 'Score at which a draft is good enough.', example: 'qualityThreshold: 0.9' },
  'refinement.minImprovement': {
    text: 'A round that raises the best score by less counts as no progress. Without it: 0.01 where `patience` is given.',
    example: 'minImprovement: 0.02',
  },
  'refinement.patience': {
    text: 'Rounds without progress after which the loop ends. Without it: 2 where `minImprovement` is given; with neither the loop does not end on a plateau.',
    example: 'patience: 2',
  },
}

/** One field of the JSON Schema of a definition. */
export interface SchemaField {
  readonly path: string
  readonly name: string
  readonly schema: JsonSchema
  readonly isRequired: boolean
}

/** A block of fields that stand beside each other: the definition itself, a step, its settings, … */
export interface FieldGroup {
  /** Path of the block; empty for the definition. */
  readonly path: string
  readonly fields: readonly SchemaField[]
}

/** The blocks of a JSON Schema, outermost first. A schema that takes any object, such as `outputSchema`, is no block. */
export function fieldGroups(schema: JsonSchema, path = ''): readonly FieldGroup[] {
  const properties = Object.entries(toObject(schema.properties))
  if (properties.length === 0) return []
  const required = Array.isArray(schema.required) ? schema.required : []
  const fields = properties.map(([name, property]) => ({
    path: path === '' ? name : `${path}.${name}`,
    name,
    schema: toObject(property),
    isRequired: required.includes(name),
  }))
  const inner = fields.flatMap((field) =>
    field.schema.type === 'array'
      ? fieldGroups(toObject(field.schema.items), `${field.path}[]`)
      : fieldGroups(field.schema, field.path),
  )
  return [{ path, fields }, ...inner]
}

const toObject = (value: unknown): JsonSchema => (typeof value === 'object' && value !== null ? { ...value } : {})

/** The generated part of docs/definitions.md. */
export function renderFields(schema: JsonSchema): string {
  return fieldGroups(schema)
    .map(({ path, fields }) => {
      const rows = fields.map(toRow)
      return [
        `### ${titleOf(path)}`,
        '',
        '| Field | Value | What it does | Example |',
        '| --- | --- | --- | --- |',
        ...rows,
      ].join('\n')
    })
    .join('\n\n')
}

function titleOf(path: string): string {
  if (path === '') return 'The definition'
  return path === 'steps[]' ? 'A step: `steps[]`' : `\`${path}\``
}

function toRow({ path, name, schema, isRequired }: SchemaField): string {
  const entry = FIELD_TEXTS[path]
  if (!entry) throw new Error(`expected a text for the field ${path} in test/support/definition-fields.ts`)
  const value = [
    entry.isCode ? 'function, in code only' : valuesOf(schema),
    isRequired ? 'required' : '',
    'default' in schema && typeof schema.default !== 'object' ? `default \`${schema.default}\`` : '',
  ]
  const cells = [`\`${name}\``, value.filter((part) => part !== '').join('; '), entry.text, `\`${entry.example}\``]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** The values that a field takes, in words. */
function valuesOf(schema: JsonSchema): string {
  if (Array.isArray(schema.anyOf)) return schema.anyOf.map((option) => valuesOf(toObject(option))).join(' or ')
  const { type, enum: choices, minLength, maxLength, minItems, maxItems, items } = schema
  if (Array.isArray(choices)) return choices.map((choice) => `\`${choice}\``).join(', ')
  if (type === 'string') return `text${rangeOf(minLength, maxLength, ' characters')}`
  if (type === 'array') {
    const what = toObject(items).type === 'object' ? 'list of objects' : 'list of texts'
    return `${what}${rangeOf(minItems, maxItems, '')}`
  }
  if (type === 'boolean') return '`true` or `false`'
  if (type !== 'integer' && type !== 'number') return 'object'
  const minimum = type === 'integer' && typeof schema.exclusiveMinimum === 'number' ? schema.exclusiveMinimum + 1 : schema.minimum
  const maximum = schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum
  return `${type === 'integer' ? 'whole number' : 'number'}${rangeOf(minimum, maximum, '')}`
}

function rangeOf(least: unknown, most: unknown, unit: string): string {
  const shown = (bound: unknown) => Number(bound).toLocaleString('en-US')
  if (most === undefined) return least === undefined || (unit !== '' && least === 1) ? '' : `, at least ${shown(least)}${unit}`
  return least === undefined ? `, at most ${shown(most)}${unit}` : `, ${shown(least)} to ${shown(most)}${unit}`
}
