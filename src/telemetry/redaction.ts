const REDACTED = '[redacted]'

/** Names of fields whose value is never logged: credentials, and what users and models write. Without case, dashes and underscores. */
const PRIVATE_NAMES = new Set(
  [
    'key keys jwt cookies secwebsocketprotocol headers query search',
    'input inputs output outputs finaloutput content contents body payload data metadata',
    'prompt prompts originalprompt system systemprompt instructions messages history attachments',
    'text delta chunk answer completion samples parsed arguments refusal reasoning reasoningtext',
  ].flatMap((names) => names.split(' ')),
)
const PRIVATE_ENDINGS = /(apikey|authorization|cookie|credentials?|passphrase|password|privatekey|secret|ticket|token)$/

const isPrivate = (name: string): boolean => {
  const plain = name.toLowerCase().replaceAll(/[-_]/g, '')
  return PRIVATE_NAMES.has(plain) || PRIVATE_ENDINGS.test(plain)
}

/** What looks like a credential, in whatever text it stands. Repetitions that may fail are bounded: a long text must not take its square. */
const CREDENTIALS: readonly (readonly [RegExp, string])[] = [
  [/\bpk_\w[\w-]*/g, REDACTED],
  [/\b(?:sk|rk|gsk|xai)[-_][\w-]{6,}/g, REDACTED],
  [/\bAIza[\w-]{10,}/g, REDACTED],
  [/\beyJ[\w-]{4,500}\.[\w-]+(?:\.[\w-]*)?/g, REDACTED],
  [/\b(Bearer)\s+[^\s"',;]+/gi, `$1 ${REDACTED}`],
  [/\b(Basic)\s+[\w+/=-]{8,}/g, `$1 ${REDACTED}`],
  // In addresses and forms: user:password@, ?ticket=…, api_key=…
  [/:\/\/[^\s/"'@]*@/g, `://${REDACTED}@`],
  [/\b((?:[\w-]{0,40}(?:key|token|secret|password|ticket))=)[^\s&"']+/gi, `$1${REDACTED}`],
]

const redactText = (text: string): string =>
  CREDENTIALS.reduce((safe, [credential, replacement]) => safe.replace(credential, replacement), text)

function redact(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value)
  if (Array.isArray(value)) return value.map(redact)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, held]) => [redactText(name), isPrivate(name) ? hidden(held) : redact(held)]),
  )
}

/** Figures stay: `input: 12` counts something. */
const hidden = (value: unknown): unknown =>
  typeof value === 'string' || (typeof value === 'object' && value !== null) ? REDACTED : value

/**
 * One log line without credentials and without what users and models wrote: by the names of its fields at any depth, and by what looks like a
 * credential anywhere. Works on the finished line, so nothing that a logger adds on its way gets past it.
 */
export function redactLine(line: string): string {
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch {
    return redactText(line)
  }
  return `${JSON.stringify(redact(parsed))}\n`
}
