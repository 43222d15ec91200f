const REDACTED = '[redacted]'

/**
 * Names of fields whose values are never logged: credentials and texts of users and models. Compared without case,
 * dashes and underscores.
 */
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

/**
 * Patterns of credentials in any text. Repetitions that can backtrack are bounded, so that long texts do not take
 * quadratic time.
 */
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

/** Numbers are kept, because fields such as `input: 12` hold counts. */
const hidden = (value: unknown): unknown =>
  typeof value === 'string' || (typeof value === 'object' && value !== null) ? REDACTED : value

/**
 * Removes credentials and texts of users and models from one log line: by field names at any depth, and by patterns of
 * credentials in all texts. Works on the finished line, so that fields added by the logger are redacted too.
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
