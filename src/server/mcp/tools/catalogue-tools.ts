import * as z from 'zod'
import { listFlowTemplates } from '../../../../templates/index.ts'
import { USAGE_GROUPS } from '../../../domain/execution/usage-report.ts'
import { instantiated, providers, template, templates, usageQuery, usageReport } from '../../../protocol/catalogue.ts'
import { flowCheck } from '../../../protocol/flow.ts'
import { arrayOf, id } from '../../../protocol/instant.ts'
import { getTemplateFacts, toDefinition } from '../../requests/definition-source.ts'
import { oneSource, parameters, source } from '../definition-arguments.ts'
import { defineTool, READ_ONLY } from './tool.ts'

export const listTemplates = defineTool({
  name: 'list_templates',
  title: 'List templates',
  description:
    'Lists the ready-made flows (critique, comparison, refinement, consensus and others) with what each is good for. Start here; then describe_template or start_flow with the name.',
  scope: 'read',
  input: z.strictObject({}),
  output: templates.extend({ items: arrayOf(template.omit({ parameters: true })) }),
  annotations: READ_ONLY,
  async run() {
    const items = listFlowTemplates()
    return { value: { items }, text: items.map(({ name, title, description }) => `${name}: ${title}. ${description}`).join('\n') }
  },
})

export const describeTemplate = defineTool({
  name: 'describe_template',
  title: 'Describe a template',
  description:
    'Returns the parameters of one template and the whole definition that it builds from them: a valid example for create_flow and start_flow. Stores and runs nothing.',
  scope: 'read',
  input: z.strictObject({ template: id.describe('A name of list_templates'), parameters }),
  output: z.object({ ...template.shape, ...instantiated.shape }),
  annotations: READ_ONLY,
  async run({ template: name, parameters: given }) {
    const facts = getTemplateFacts(name)
    const definition = { ...toDefinition({ template: name, parameters: given }) }
    const lines = facts.parameters.map((parameter) => {
      const usual = parameter.default === undefined ? '' : ` Default: ${JSON.stringify(parameter.default)}`
      return `- ${parameter.name} (${parameter.type}): ${parameter.description}${usual}`
    })
    const text = [
      `${name}: ${facts.title}. ${facts.description}`,
      'Parameters:',
      ...lines,
      `Example input: ${facts.example}`,
      `Definition: ${JSON.stringify(definition)}`,
    ].join('\n')
    return { value: { ...facts, definition }, text }
  },
})

export const listProviders = defineTool({
  name: 'list_providers',
  title: 'List providers',
  description: 'Lists the model providers that are configured here; steps and parameters name models as `provider/model`.',
  scope: 'read',
  input: z.strictObject({}),
  output: providers,
  annotations: READ_ONLY,
  async run(_, { deps }) {
    const items = deps.providers.list()
    const lines = items.map(
      ({ id, vendor, active, simulated }) => `${id} (${vendor})${active ? '' : ', not active'}${simulated ? ', simulated' : ''}`,
    )
    return { value: { items }, text: lines.join('\n') || 'No provider is configured.' }
  },
})

export const checkFlow = defineTool({
  name: 'check_flow',
  title: 'Check a flow',
  description:
    'Finds everything that would stop or surprise a run of a template or definition (mistakes, missing providers, sharing between providers that the user has not allowed), with the number of model calls and the likely cost in US dollars. Calls no model, stores nothing, costs nothing.',
  scope: 'read',
  input: oneSource(z.strictObject(source)),
  output: flowCheck,
  annotations: READ_ONLY,
  async run(given, { deps, caller }) {
    const check = await deps.orchestrator.checkFlow(toDefinition(given), caller.userId, {
      apiKeyId: caller.keyId,
      overNetwork: true,
    })
    const { ok, problems, warnings, calls, cost } = check
    const lines = [
      ok ? 'Nothing stops it.' : `${problems.length} problems:`,
      ...problems.map(({ code, path, message }) => `- ${code} ${path}: ${message}`),
      ...warnings.map(({ path, message }) => `- Warning ${path}: ${message}`),
      `Model calls: ${calls.min} to ${calls.max}. Cost: US$ ${cost.lowUsd} to ${cost.highUsd}${cost.unpriced.length > 0 ? `, unknown for ${cost.unpriced.join(', ')}` : ''}.`,
    ]
    return { value: check, text: lines.join('\n') }
  },
})

const DEFAULT_USAGE_ROWS = 50
const { from, to, flowId } = usageQuery.shape

export const getUsage = defineTool({
  name: 'get_usage',
  title: 'Read usage and cost',
  description:
    'Sums the model calls, tokens and US dollars of the flows that the user created, by day, provider, model or flow. Calls without a known price and simulated calls are counted separately and are not in the cost.',
  scope: 'read',
  input: z.strictObject({
    from: from.describe('First day (2026-11-20, UTC) or instant'),
    to: to.describe('Day or instant (exclusive)'),
    groupBy: z.array(z.enum(USAGE_GROUPS)).max(USAGE_GROUPS.length).optional().describe('Default: by day'),
    flowId: flowId.describe('Only of this flow'),
    limit: z.number().int().min(1).max(1_000).default(DEFAULT_USAGE_ROWS).describe('Most rows'),
  }),
  output: usageReport,
  annotations: READ_ONLY,
  async run(given, { deps, caller }) {
    const report = await deps.usage.report(caller.userId, given)
    const { rows, totals, truncated } = report
    const lines = rows.map(({ day, provider, model, flowName, ...figures }) =>
      [day, provider, model, flowName, toFigures(figures)].filter((part) => part !== undefined).join(' '),
    )
    const text = [`In all: ${toFigures(totals)}.`, ...lines, ...(truncated ? ['There are more rows than these.'] : [])].join('\n')
    return { value: report, text }
  },
})

type Figures = Pick<
  z.output<typeof usageReport>['totals'],
  'calls' | 'totalTokens' | 'costUsd' | 'unpricedCalls' | 'simulatedCalls'
>

const toFigures = ({ calls, totalTokens, costUsd, unpricedCalls, simulatedCalls }: Figures): string =>
  `${calls} calls, ${totalTokens} tokens, US$ ${costUsd}, ${unpricedCalls} calls without a known price, ${simulatedCalls} simulated calls`
