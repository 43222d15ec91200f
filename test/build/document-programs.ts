/**
 * Makes programs out of the blocks of a document. What a block leaves out ("...", a name, the object that a property belongs to) is added;
 * what it writes stays as it is. A program may export a `definition` or a `part` of one, which still have to be run.
 */

/** Imported where a block uses them without an import of its own. */
const TYPES = ['ContextPolicy', 'ConversationMessage', 'FlowDefinition', 'FlowError', 'FlowExecutionResult', 'FlowStep']
  .concat(['FlowStepResult', 'FlowStreamUpdate', 'OrchestrationFlow', 'OrchestrationStepResult', 'StepContext', 'TokenUsage'])
  .concat(['TimeoutConfig'])

/** What the reader of a block has from elsewhere: `scene()` of SCENE gives it, for every program anew. */
const NAMES = ['threadId', 'userId', 'flowId', 'elapsed', 'fetchExternalData']

/** The file that the programs import as `./scene.js`. */
export const SCENE = `
import { conversationService, createSequentialAnalysisFlow, dataSharingService, orchestratorService } from 'polyphony'
export async function scene() {
  const userId = 'reader'
  for (const provider of ['openai', 'anthropic', 'google'])
    await dataSharingService.set(userId, provider, { allowConversationHistory: true, allowCrossProviderContext: true })
  const thread = await conversationService.createThread(userId, { title: 'A reader' })
  await conversationService.addMessage(thread.id, userId, { role: 'user', content: 'Why is the sky blue?' })
  const flow = await orchestratorService.createFlow(thread.id, userId, createSequentialAnalysisFlow())
  return { userId, threadId: thread.id, flowId: flow.id, elapsed: 0, fetchExternalData: async () => 'data' }
}
`

/** The rest of a definition around a part of one. The step before it gives it something to go on from. */
const around = (part: 'policy' | 'settings' | 'step'): string => `
const base = { provider: 'openai', model: 'gpt-4', action: 'generate', prompt: 'original' } as const
export const definition: FlowDefinition = {
  name: 'Around a part',
  type: 'sequential',
  ${{ policy: 'contextPolicy: part,', settings: '...part,', step: '' }[part]}
  steps: [{ ...base, id: 'first' }, { ...base, id: 'second'${part === 'step' ? ', ...part' : ''} }],
}`
const PART_TYPES = { policy: 'ContextPolicy', settings: 'Partial<FlowDefinition>', step: 'Partial<FlowStep>' } as const

export function toProgram(block: string, values: readonly string[]): string {
  const body = complete(block.replace(/, \.\.\. \}/g, ", prompt: 'original' }").replace(/^ *\.\.\.$/gm, ''))
  const declared = [...body.matchAll(/\b(?:const|function|interface) (\w+)/g)].map(([, name = '']) => name)
  const imported = [...body.matchAll(/import \{([^}]+)\}/g)].flatMap(([, names = '']) =>
    names.split(',').map((name) => name.trim()),
  )
  const used = new Set(body.match(/(?<![.\w])\w+/g) ?? [])
  const needed = (name: string) => used.has(name) && !declared.includes(name) && !imported.includes(name)
  // A parameter of its own, or a property, is no name from elsewhere.
  const own = /^async function/m.test(body) ? body.slice(body.lastIndexOf('\n}')) : body
  const names = NAMES.filter((name) => needed(name) && own.includes(name))
  return [
    `import { ${[...values.filter(needed), ...TYPES.filter(needed).map((name) => `type ${name}`)].join(', ')} } from 'polyphony'`,
    "import type * as published from 'polyphony'",
    "import { scene } from './scene.js'",
    `const { ${names.join(', ')} } = await scene()`,
    body.replace(/'\.\/(orchestrator\.\w+|flow-templates)'/g, "'polyphony/$1'"),
  ].join('\n')
}

function complete(body: string): string {
  const signature = /orchestratorService\.(\w+)\(\s*(\w+\??: [\s\S]*?)\s*\);/.exec(body)
  if (signature) return `export const call: (${signature[2]}) => unknown = orchestratorService.${signature[1]}`

  const interfaces = [...body.matchAll(/^interface (\w+)/gm)].map(([, name = '']) => name)
  if (interfaces.length > 0) return `${body}\n${interfaces.map(interchangeable).join('\n')}`

  if (/^ {2}id: string;$/m.test(body)) {
    const entity = body.includes('executedAt') ? 'OrchestrationStepResult' : 'OrchestrationFlow'
    return `interface Described ${body}\nexport const read = (found: published.${entity}, key: keyof Described) => found[key]`
  }
  const code = body.replace(/^\/\/.*\n/gm, '')
  if (/^\w+: /.test(code)) {
    const kind = code.startsWith('contextPolicy') ? 'settings' : 'step'
    return `const part: ${PART_TYPES[kind]} = {\n${body}\n}${around(kind)}`
  }
  if (code.startsWith('{')) {
    const kind = code.includes('maxSharedTokens') ? 'policy' : 'step'
    return `${body.replace(/^\{\n[\s\S]*?\n\}$/m, (object) => `const part: ${PART_TYPES[kind]} = ${object}`)}${around(kind)}`
  }
  const started = /^async function (\w+)\(([^)]*)\)/m.exec(body)
  if (started) return `${body}\nawait ${started[1]}(${started[2]?.replace(/: \w+/g, '')})`

  const defined = /^const (\w+)(?:: FlowDefinition)? = (?:create\w+\(|\{\n {2}(?:name|type): )/m.exec(body)
  if (!defined) return body
  const named = body.replace(/(: FlowDefinition = \{\n)(?! *name:)/, "$1  name: 'Unnamed',\n")
  return `${named}\nexport const definition: FlowDefinition = ${defined[1]}`
}

/** Steps and definitions are written by users in the shape of the document, contexts are read in it. */
const interchangeable = (name: string): string =>
  name === 'StepContext'
    ? 'export const read = (given: published.StepContext): StepContext => given'
    : `export const written = (given: ${name}): published.${name} => given`.replace('written', `written${name}`)
