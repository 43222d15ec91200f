/** Checked values that a service file may name; everything else in braces is refused when the file is read. */
export interface PlaceholderValues {
  readonly id: string
  readonly port?: number
  readonly endpoint?: string
}

export const PLACEHOLDERS = ['port', 'endpoint', 'id'] as const

const PATTERN = /\{\{\s*([^{}]*?)\s*\}\}/g

/** Names in double braces that are no placeholder. */
export const unknownPlaceholders = (text: string): readonly string[] =>
  [...text.matchAll(PATTERN)].flatMap(([, name = '']) => (PLACEHOLDERS.some((known) => known === name) ? [] : [name]))

/** Names of the placeholders of a text. */
export const placeholdersOf = (text: string): readonly string[] => [...text.matchAll(PATTERN)].map(([, name = '']) => name)

/** The text with values for `{{port}}`, `{{endpoint}}` and `{{id}}`. Without a value the name stays. */
export function fillPlaceholders(text: string, values: PlaceholderValues): string {
  const known = new Map<string, string>([['id', values.id]])
  if (values.port !== undefined) known.set('port', String(values.port))
  if (values.endpoint !== undefined) known.set('endpoint', values.endpoint)
  return text.replaceAll(PATTERN, (found, name: string) => known.get(name) ?? found)
}
