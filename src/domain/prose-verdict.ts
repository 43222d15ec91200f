/** Score and decision as a judge says them in prose. */
export interface ProseVerdict {
  /** 0 to 1. */
  readonly score?: number
  readonly approved?: boolean
}

const NUMBER = String.raw`(-?\d{1,4}(?:[.,]\d{1,6})?)`
const SCALE = String.raw`(?:\s*(?:/|(?:out\s+)?of)\s*(\d{1,4}(?:\.0{1,2})?)(?![\d.]*\d))`
/** A number, then what it is out of. Nothing may follow that makes it part of a range, a version or a longer number. */
const VALUE = String.raw`${NUMBER}(?:${SCALE}|\s*(%))?(?!\s*(?:[-–]|to)\s*\d|[.,]?\d|\s*/)`

const WHOLE = new RegExp(String.raw`^[*_"'\s]{0,5}${VALUE}[.!*_"'\s]{0,5}$`, 'i')
const LABELLED = new RegExp(
  String.raw`\b(?:score|rating|grade)["'*_]{0,4}(?:\s?\(([^()\n]{1,20})\))?(?:[\s:=*_"'|]|is\s|of\s|-\s){1,8}${VALUE}`,
  'gi',
)
/** Unlabelled, only the scales people mean as such. */
const SCALED = /(?<![\d./,-])(\d{1,3}(?:[.,]\d{1,3})?)\s*(?:\/|out\s+of)\s*(5|10|100)(?![\d/]|[.,]\d)/gi
const DECISION =
  /^[\s*_#>-]{0,8}(?:approved|verdict|decision)["'*_]{0,4}\s{0,2}[:=]["'*_\s]{0,5}(yes|true|approved|pass|passed|no|false|rejected|fail|failed)\b/gim
const POSITIVE = new Set(['yes', 'true', 'approved', 'pass', 'passed'])

/** Characters of an answer that are looked at. */
const MAX_LENGTH = 100_000

/** What the text says once and clearly; `undefined` where it says nothing, or different things. */
export function readProseVerdict(answer: string): ProseVerdict | undefined {
  const text = answer.slice(0, MAX_LENGTH)
  const score = readScore(text)
  const approved = readDecision(text)
  if (score === 'unclear' || approved === 'unclear' || (score === undefined && approved === undefined)) return undefined
  return { ...(score !== undefined && { score }), ...(approved !== undefined && { approved }) }
}

/** A score that is the whole text: `8/10`, `85%`, `0.8`, `8 out of 10`. */
export function parseScore(text: string): number | undefined {
  const match = WHOLE.exec(text)
  if (!match) return undefined
  const score = toScore(match[1], match[2], match[3])
  return score === 'unclear' ? undefined : score
}

function readScore(text: string): number | 'unclear' | undefined {
  const whole = parseScore(text)
  if (whole !== undefined) return whole
  const labelled = Array.from(text.matchAll(LABELLED), ([, note, value, scale, percent]) =>
    toScore(value, scale ?? /(\d{1,4})\D*$/.exec(note ?? '')?.[1], percent),
  )
  const scores =
    labelled.length > 0 ? labelled : Array.from(text.matchAll(SCALED), ([, value, scale]) => toScore(value, scale, undefined))
  return same(scores)
}

function readDecision(text: string): boolean | 'unclear' | undefined {
  return same(Array.from(text.matchAll(DECISION), ([, word]) => POSITIVE.has(word?.toLowerCase() ?? '')))
}

function same<T>(found: readonly T[]): T | 'unclear' | undefined {
  return found.every((value) => value === found[0]) ? found[0] : 'unclear'
}

/** A bare number is a score only as a fraction: 7 has no scale, and 0 and 1 might stand on any. */
function toScore(written: string | undefined, scale: string | undefined, percent: string | undefined): number | 'unclear' {
  const value = Number(written?.replace(',', '.'))
  const outOf = percent ? 100 : scale === undefined ? undefined : Number(scale)
  if (outOf === undefined) return value >= 0 && value <= 1 && /[.,]/.test(written ?? '') ? value : 'unclear'
  return value >= 0 && value <= outOf && outOf > 0 ? value / outOf : 'unclear'
}
