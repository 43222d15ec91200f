import { getFlowTemplate, listFlowTemplates, type TemplateParameter } from '../../../templates/index.ts'
import { toTable } from '../plain-text.ts'
import type { CommandContext } from '../services.ts'

/** `polyphony templates [name]`. */
export async function templatesCommand({ terminal, json }: CommandContext, name: string | undefined): Promise<void> {
  const all = listFlowTemplates()
  // Throws with a suggestion where there is no such template.
  if (name !== undefined) getFlowTemplate(name)
  const chosen = name === undefined ? all : all.filter((template) => template.name === name)
  if (json) return chosen.forEach(terminal.printJson)
  const { style } = terminal
  if (name === undefined) {
    for (const line of toTable(all.map((template) => [style('cyan', template.name), template.description]))) terminal.print(line)
    return terminal.print('\npolyphony templates <name> shows its parameters.')
  }
  for (const { title, description, type, example, parameters } of chosen) {
    terminal.print(`${style('bold', title)} (${type})\n${description}\n`)
    const rows = parameters.map((parameter) => [style('cyan', parameter.name), parameter.type, describe(parameter)])
    for (const line of toTable(rows)) terminal.print(line)
    terminal.print(`\npolyphony run ${name} ${JSON.stringify(example)}`)
    const [first] = parameters
    if (first) terminal.print(`  --set ${first.name}=…  sets a parameter; --simulate needs no key`)
  }
}

function describe({ description, default: byDefault }: TemplateParameter): string {
  return byDefault === undefined ? description : `${description} Default: ${shown(byDefault)}`
}

/** A value as `--set` takes it. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join(',')
  if (typeof value === 'object' && value !== null && 'provider' in value && 'model' in value) {
    return `${value.provider}/${value.model}`
  }
  return typeof value === 'string' ? value : JSON.stringify(value)
}
