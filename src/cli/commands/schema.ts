import { defineCommand } from '../command.ts'

/**
 * `polyphony schema`, for editors and for models that write definitions; `--config` prints the schema of
 * `polyphony.yaml`.
 */
export const schemaCommand = defineCommand<{ readonly config?: boolean }>({
  name: 'schema',
  description: 'print the JSON Schema of a definition',
  configure: (command) => command.option('--config', 'print the JSON Schema of polyphony.yaml instead'),
  async run({ services, terminal }, { config = false }) {
    if (config) {
      const { configJsonSchema } = await import('../../config/config-json-schema.ts')
      return terminal.print(JSON.stringify(configJsonSchema(), null, 2))
    }
    const parser = await services.createParser()
    terminal.print(JSON.stringify(parser.jsonSchema(), null, 2))
  },
})
