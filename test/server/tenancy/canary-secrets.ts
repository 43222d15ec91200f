import { randomBytes } from 'node:crypto'

/** Text that stands nowhere else, with its name in it. */
const canary = (name: string): string => `canary${name.replaceAll(/[^a-z]/gi, '')}${randomBytes(9).toString('hex')}`

/** What nobody may ever see again, not even in the database. */
const SECRETS = [
  'key of openai',
  'key of anthropic',
  'key of google',
  'key of a compatible vendor',
  'header of an account',
  'password of the database',
  'made-up key',
  'bearer of nobody',
  'basic credentials',
  'cookie',
  'x-api-key',
  'proxy authorization',
  'token in a query',
  'made-up ticket',
  'password in a referer',
  'session',
] as const
/** What its owner reads and the database holds, and nobody else is told. */
const TEXTS = [
  'title',
  'message',
  'attachment',
  'metadata',
  'input',
  'prompt',
  'system prompt',
  'output',
  'flow name',
  'instructions',
  'message to a model',
  'input of a tool',
  'idempotency key',
] as const

type Named<Names extends readonly string[]> = Readonly<Record<Names[number], string>>
const named = <const Names extends readonly string[]>(names: Names): Named<Names> =>
  Object.fromEntries(names.map((name) => [name, canary(name)])) as Named<Names>

export interface Canaries {
  readonly secret: Named<typeof SECRETS>
  readonly text: Named<typeof TEXTS>
  /** Adds a secret that the server made. */
  add(name: string, value: string): void
  /** Names of the secrets in the text. */
  secretsIn(text: string): readonly string[]
  /** Names of the texts of the user in the text. */
  textsIn(text: string): readonly string[]
  readonly count: number
}

export function createCanaries(): Canaries {
  const secret = named(SECRETS)
  const text = named(TEXTS)
  const made = new Map<string, string>()
  const find = (values: Iterable<readonly [string, string]>, within: string) =>
    [...values].flatMap(([name, value]) => (within.includes(value) ? [name] : []))
  return {
    secret,
    text,
    add: (name, value) => void made.set(name, value),
    secretsIn: (within) => find([...Object.entries(secret), ...made], within),
    textsIn: (within) => find(Object.entries(text), within),
    get count() {
      return SECRETS.length + TEXTS.length + made.size
    },
  }
}
