import type { TemplateParameter } from '../../../templates/index.ts'
import { defineCommand, jsonOption } from '../command.ts'
import { toTable } from '../plain-text.ts'

/** `polyphony templates [name]`. Rejects with TEMPLATE_NOT_FOUND, with a suggestion if a name is close. */
export const templatesCommand = defineCommand({
  name: 'templates',
  description: 'list the templates, or show one with its parameters',
  configure: (command) => command.argument('[name]').addOption(jsonOption()),
  async run({ terminal, json }, _options, name: string | undefined) {
    const { getFlowTemplate, listFlowTemplates } = await import('../../../templates/index.ts')
    const all = listFlowTemplates()
    // Throws for an unknown name.
    if (name !== undefined) getFlowTemplate(name)
    const chosen = name === undefined ? all : all.filter((template) => template.name === name)
    if (json) return chosen.forEach(terminal.printJson)
    const { style } = terminal
    if (name === undefined) {
      const rows = all.map((template) => [style('cyan', template.name), template.description])
      for (const line of toTable(rows)) terminal.print(line)
      return terminal.print('\npolyphony templates <name> shows the parameters of a template.')
    }
    for (const { title, description, type, example, parameters } of chosen) {
      terminal.print(`${style('bold', title)} (${type})\n${description}\n`)
      const rows = parameters.map((parameter) => [style('cyan', parameter.name), parameter.type, describe(parameter)])
      for (const line of toTable(rows)) terminal.print(line)
      terminal.print(`\npolyphony run ${name} ${JSON.stringify(example)}`)
      const [first] = parameters
      if (first) terminal.print(`  --set ${first.name}=…  sets a parameter; --simulate needs no key`)
    }
  },
})

function describe({ description, default: byDefault }: TemplateParameter): string {
  return byDefault === undefined ? description : `${description} Default: ${toSetting(byDefault)}`
}

/** A value as `--set` takes it. */
function toSetting(value: unknown): string {
  if (Array.isArray(value)) return value.map(toSetting).join(',')
  if (typeof value === 'object' && value !== null && 'provider' in value && 'model' in value) {
    return `${value.provider}/${value.model}`
  }
  return typeof value === 'string' ? value : JSON.stringify(value)
}
