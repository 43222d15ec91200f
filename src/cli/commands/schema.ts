import { configJsonSchema } from '../../config/config-json-schema.ts'
import type { CommandContext } from '../services.ts'

/** `polyphony schema`: for editors and for models that write definitions; with `config` that of `polyphony.yaml`. */
export async function schemaCommand(
  { house, terminal }: CommandContext,
  { config = false }: { readonly config?: boolean },
): Promise<void> {
  if (config) return terminal.print(JSON.stringify(configJsonSchema(), null, 2))
  const parser = await house.createParser({})
  terminal.print(JSON.stringify(parser.jsonSchema(), null, 2))
}
