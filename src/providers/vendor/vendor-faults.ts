import type { ErrorCode } from '../../errors/error-codes.ts'
import type { VendorWords } from './vendor-words.ts'

/**
 * One rule that maps error words or texts of vendors to a code. Words are compared without case, `_`, `-`, `.` and
 * spaces. Texts are compared only where a vendor has no word for the failure; a comment names the vendor and its
 * status. The first matching rule decides, and statuses decide the rest. Sources: the vendors' error pages and recorded
 * responses, 2026-11.
 */
interface Fault {
  readonly code: ErrorCode
  readonly word?: RegExp
  readonly text?: RegExp
  /** Statuses for which the rule does not apply. */
  readonly exceptStatuses?: readonly number[]
}

const FAULTS: readonly Fault[] = [
  {
    code: 'CONTENT_FILTERED',
    word: /^(contentfilter(ed)?|.*contentpolicyviolation|responsibleaipolicyviolation|datainspectionfailed|invalidprompt|moderation(blocked|error)?|contentmoderation|sensitive|cyberpolicyviolation|safety|prohibitedcontent|blocklist|minimax(1026|1027))$/,
  },
  {
    code: 'CONTENT_FILTERED',
    // xAI (403), DeepSeek (400), Anthropic (400), OpenAI (400), Azure without a code, Together (422).
    text: /SAFETY_CHECK_TYPE_|violates (our |the )?usage guidelines|content exists risk|blocked by (our )?content filter|content management policy|flagged as potentially violating|input failed moderation/i,
  },
  {
    code: 'PROVIDER_QUOTA_EXHAUSTED',
    word: /^(insufficient(quota|userquota|balance|credits|funds)|billing(error|hardlimitreached|notactive|disabled)|quotaexceeded|exceededcurrentquotaerror|servicequotaexceeded(exception)?|creditlimit.*|spendlimitreached|arrearage|paymentrequired(error)?|minimax1008|.*perday.*)$/,
    exceptStatuses: [401],
  },
  {
    code: 'PROVIDER_QUOTA_EXHAUSTED',
    // Anthropic (400), xAI (403 and 429), OpenRouter (403), Azure (403), Fireworks (412), SiliconFlow (403).
    text: /credit balance is too low|reached your specified api usage limits|doesn't have any credits|used all available credits|monthly spending limit|spending limit (exceeded|reached)|key limit exceeded|out of call volume quota|insufficient (account )?(balance|credits|funds)|balance is insufficient/i,
    exceptStatuses: [401],
  },
  {
    code: 'PROVIDER_AUTH',
    word: /^(apikey.*|invalidapikey|organizationrestricted|accountdeactivated|accessterminated|unrecognizedclientexception|expiredtokenexception|accessdenied(exception)?|minimax(1004|2049))$/,
  },
  {
    code: 'PROVIDER_AUTH',
    // xAI (400), Groq (400), Anthropic (400), Gemini's endpoint for OpenAI clients (400).
    text: /incorrect api key|invalid api[- ]?key|api key (is )?(not valid|invalid|expired)|api key not valid|organization has been (disabled|restricted)/i,
    exceptStatuses: [404, 429],
  },
  // The vendor rejected the output of its own model (Groq). The request is valid, so another attempt may succeed.
  { code: 'PROVIDER_BAD_REPLY', word: /^(jsonvalidatefailed|outputparsefailed)$/ },
  {
    code: 'PROVIDER_REJECTED',
    word: /^(contextlengthexceeded|exceedcontextsizeerror|requesttoolarge|stringabovemaxlength)$/,
  },
  {
    code: 'PROVIDER_REJECTED',
    // llama.cpp and others, with a 500 or without a status.
    text: /exceeds? (the )?(available |maximum |model's )?context (size|length|window)|context (size|length|window) (has been )?exceeded|maximum context length is/i,
    exceptStatuses: [401, 402],
  },
]

/** Statuses for error words that vendors send without a status. */
const STATUS_WORDS: readonly (readonly [RegExp, number])[] = [
  [/^(authenticationerror|unauthenticated|unauthorized)$/, 401],
  [/^(permissionerror|permissiondenied|forbidden)$/, 403],
  [/^(notfounderror|notfound|modelnotfound|resourcenotfoundexception|deploymentnotfound)$/, 404],
  [/^(ratelimit.*|resourceexhausted|toomanyrequests.*|tokens|requests|throttling.*|minimax(1002|1039))$/, 429],
  [/^(overloaded.*|engineoverloadederror)$/, 529],
  [/^(timeouterror|deadlineexceeded|requesttimeout|modeltimeoutexception)$/, 504],
  [/^(servererror|internal.*|apierror|unavailable|serviceunavailable.*|upstream.*|badgateway)$/, 503],
  [/^(invalidrequest.*|invalidargument|failedprecondition|badrequest.*|validation(error|exception)|extraforbidden)$/, 400],
]

/**
 * Client error statuses of temporary failures: request timeout, conflict, failed model (Bedrock, 424), too early, no
 * free capacity (Groq, 498).
 */
const TEMPORARY = new Set([408, 409, 424, 425, 498])

/** The error code of a failure. `httpStatus` is undefined for an error inside a 200. */
export function toFaultCode(httpStatus: number | undefined, vendorWords: VendorWords): ErrorCode {
  const words = vendorWords.kinds.map((kind) => kind.toLowerCase().replace(/[\s_.-]+/g, ''))
  const status = httpStatus ?? vendorWords.status ?? statusOfWords(words)
  if (vendorWords.moderated) return 'CONTENT_FILTERED'
  const fault = FAULTS.find(
    ({ word, text, exceptStatuses: not }) =>
      !(status !== undefined && not?.includes(status)) &&
      ((word && words.some((found) => word.test(found))) ||
        (text &&
          ((vendorWords.message && text.test(vendorWords.message)) ||
            (vendorWords.upstream && text.test(vendorWords.upstream))))),
  )
  if (fault) return fault.code
  if (status === 402) return 'PROVIDER_QUOTA_EXHAUSTED'
  if (status === 401 || status === 403) return 'PROVIDER_AUTH'
  if (status === 429) return 'PROVIDER_RATE_LIMITED'
  // Without a status or a known word there is no sign that the request is at fault, so it may be retried.
  if (status === undefined || status >= 500 || TEMPORARY.has(status)) return 'PROVIDER_UNAVAILABLE'
  return 'PROVIDER_REJECTED'
}

const statusOfWords = (words: readonly string[]): number | undefined =>
  STATUS_WORDS.find(([pattern]) => words.some((word) => pattern.test(word)))?.[1]

/** A request field that the server rejects by name. */
export interface RefusedParameter {
  readonly name: string
  /** The field that the server suggests instead. */
  readonly useInstead?: string
}

const REFUSAL_WORDS = /^(unsupportedparameter|unknownparameter|extraforbidden|unsupportedvalue)$/
const REFUSAL_TEXT =
  /unsupported (parameter|value)|(is|are) unsupported|not supported|(does not|doesn't) support|unsupported argument|unrecognized|unknown (name|parameter|field|argument)|unexpected (keyword|field|parameter)|extra (inputs|fields)|(is|are) not (permitted|allowed|accepted)|additional propert|deprecated|must be 'json_schema' or 'text'|is unavailable now/i
/** Fields of our requests that some servers reject. A name must precede the names that it contains. */
const FIELDS = [
  ...['stream_options', 'include_usage', 'max_completion_tokens', 'max_output_tokens', 'max_tokens', 'temperature', 'top_p'],
  ...['response_format', 'json_object', 'reasoning.summary', 'reasoning_effort', 'parallel_tool_calls', 'random_seed'],
  ...['prompt_cache_key', 'prompt_cache_retention', 'chat_template_kwargs'],
]
/** Field names that are also common words, so they count only in quotes. */
const QUOTED_FIELDS = ['stop', 'store', 'usage', 'text', 'seed', 'include', 'reasoning', 'thinking']
/** Nested names, with the request field that contains them. */
const WHOLE_FIELDS: Readonly<Record<string, string>> = {
  include_usage: 'stream_options',
  json_object: 'response_format',
  'text.format': 'text',
  'reasoning.summary': 'reasoning.summary',
}

/** The request field that a 400 or 422 rejects. Undefined if only the value of the field is invalid. */
export function toRefusedParameter(status: number | undefined, vendorWords: VendorWords): RefusedParameter | undefined {
  if (status !== undefined && status !== 400 && status !== 422) return undefined
  const text = [vendorWords.message, vendorWords.upstream].filter((part) => part !== undefined).join(' ')
  const words = vendorWords.kinds.map((kind) => kind.toLowerCase().replace(/[\s_.-]+/g, ''))
  // The value of `stream_options` is constant, so an error about the value rejects the field.
  const isStreamOptions = /\b(stream_options|include_usage)\b/.test(vendorWords.parameter ?? text)
  if (!isStreamOptions && !words.some((word) => REFUSAL_WORDS.test(word)) && !REFUSAL_TEXT.test(text)) return undefined
  const useInstead = /\buse\s+['"`]?(\w+)['"`]?\s+instead/i.exec(text)?.[1]
  const named =
    vendorWords.parameter ??
    FIELDS.find((field) => field !== useInstead && new RegExp(`\\b${field}\\b`).test(text)) ??
    QUOTED_FIELDS.find((field) => new RegExp(`['"\`]${field}['"\`]`).test(text))
  if (named === undefined) return undefined
  const requestField = WHOLE_FIELDS[named] ?? named.replace(/[.[].*$/, '')
  return { name: WHOLE_FIELDS[requestField] ?? requestField, ...(useInstead && { useInstead }) }
}
