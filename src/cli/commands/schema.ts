import type { CommandContext } from '../house.ts'

/** `polyphony schema`: for editors and for models that write definitions. */
export async function schemaCommand({ house, terminal }: CommandContext): Promise<void> {
  const parser = await house.createParser({})
  terminal.print(JSON.stringify(parser.jsonSchema(), null, 2))
}
