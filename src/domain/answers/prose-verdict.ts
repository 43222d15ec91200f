import { parseScoreText, toNumber } from './score.ts'

/** Score and decision that a reviewer states in prose. */
export interface ProseVerdict {
  /** 0 to 1. */
  readonly score?: number
  readonly approved?: boolean
  /** Whether the text contains words against approval that have no label. */
  readonly disapproves?: boolean
}

const NUMBER = String.raw`(-?\d{1,4}(?:[.,]\d{1,6})?)`
const SCALE = String.raw`(?:\s*\(?\s*(?:/|(?:out\s+)?of|on\s+an?\s+scale\s+(?:of|to|from\s+0\s+to|of\s+0\s+to))\s*(\d{1,4}(?:\.0{1,2})?)(?![\d.]*\d)(?!\s*(?:[-–]|to)\s*\d))`
/**
 * A number and the end of its scale. The text after it must not make it part of a range, a version or a longer number.
 */
const VALUE = String.raw`${NUMBER}(?:${SCALE}|\s*(%|per\s?cent))?(?!\s*(?:[-–]|to)\s*\d|[.,]?\d|\s*/)`

const LABELLED = new RegExp(
  String.raw`\b(?:score|rating|grade)["'*_]{0,4}(?:\s?\(([^()\n]{1,20})\))?(?:[\s:=*_"'|]|is\s|of\s|-\s){1,8}${VALUE}`,
  'gi',
)
/** A scale that is stated separately from the score. */
const SCALE_ELSEWHERE = new RegExp(
  [
    String.raw`\bscale\s*(?:of|from|is|:)(?!\s*0(?:\.0)?\s*(?:-|–|to)\s*1(?:\.0)?(?!\.?\d))`,
    String.raw`\b\d+\s*(?:-|–|to)\s*(?:[2-9]|\d{2,})\s+scale\b`,
    String.raw`\bout\s+of\s+(?:[2-9]|\d{2,})\b`,
    String.raw`\/\s?(?:5|10|100)\b`,
  ].join('|'),
  'i',
)
/** Without a label, only usual scales count. */
const SCALED = /(?<![\d./,-])(\d{1,3}(?:[.,]\d{1,3})?)\s*(?:\/|out\s+of)\s*(5|10|100)(?![\d/]|[.,]\d)/gi
const DECISION =
  /^[\s*_#>-]{0,8}(?:approved|verdict|decision)["'*_]{0,4}\s{0,2}[:=]["'*_\s]{0,5}(yes|true|approved|pass|passed|no|false|rejected|fail|failed)\b/gim
const POSITIVE = new Set(['yes', 'true', 'approved', 'pass', 'passed'])

/** Maximum number of characters of an answer that are read. */
const MAX_LENGTH = 100_000

export interface ProseOptions {
  /** Whether the text was cut, so that a value that reaches its end may be incomplete. Default false. */
  readonly cut?: boolean
  /** Whether only a labelled score counts. Default false. */
  readonly labelled?: boolean
}

const DISAPPROVAL =
  /\b(?:not\s+approved?|(?:can|do|does|will)\s?not\s+approve|(?:can't|don't|won't)\s+approve|i\s+reject|(?:is|be)\s+rejected)\b/i
const SCALE_OF_ONE =
  /(?<![\d./-])1(?:\.0)?\s*(?:\/|out\s+of)\s*(?:[2-9]|\d{2,})\b|\b(?:scale|from|between|range)\b.{0,12}\b[01]\s*(?:-|–|to|and)\s*(?:[2-9]|\d{2,})\b/i

/** Whether a text names a scale on which 1 is not the best score: `1 out of 10`, `on a scale from 1 to 5`. */
export const namesScaleOfOne = (text: string): boolean => SCALE_OF_ONE.test(text.slice(0, MAX_LENGTH))

/** The score and decision that the text states unambiguously; `undefined` if it states none, or several that differ. */
export function readProseVerdict(answer: string, options: ProseOptions = {}): ProseVerdict | undefined {
  const text = answer.slice(0, MAX_LENGTH)
  const score = readScore(text, options)
  const approved = readDecision(text, options)
  const disapproves = options.labelled === true && DISAPPROVAL.test(text)
  if (disapproves && approved === undefined) return { disapproves, ...(typeof score === 'number' && { score }) }
  if (score === 'unclear' || approved === 'unclear' || (score === undefined && approved === undefined)) return undefined
  return { ...(score !== undefined && { score }), ...(approved !== undefined && { approved }) }
}

function readScore(text: string, { cut, labelled: onlyLabelled }: ProseOptions): number | 'unclear' | undefined {
  const whole = onlyLabelled ? undefined : parseScoreText(text)
  if (whole) return cut ? 'unclear' : toScore(whole.digits, text, whole.max)
  const labelled = Array.from(text.matchAll(LABELLED), (match) => {
    const [, note, value = '', scale, percent] = match
    const max = percent === undefined ? (scale ?? /(\d{1,4})\D*$/.exec(note ?? '')?.[1]) : 100
    return isOpen(match, text, cut) ? 'unclear' : toScore(value, text, max === undefined ? undefined : Number(max))
  })
  if (labelled.length > 0 || onlyLabelled) return same(labelled)
  const scaled = Array.from(text.matchAll(SCALED), (match) => {
    const [, value = '', scale] = match
    return isOpen(match, text, cut) ? 'unclear' : toScore(value, text, Number(scale))
  })
  return same(scaled)
}

function readDecision(text: string, { cut }: ProseOptions): boolean | 'unclear' | undefined {
  const decisions = Array.from(text.matchAll(DECISION), (match) =>
    isOpen(match, text, cut) ? 'unclear' : POSITIVE.has(match[1]?.toLowerCase() ?? ''),
  )
  return same(decisions)
}

const isOpen = (match: RegExpExecArray, text: string, cut: boolean | undefined): boolean =>
  cut === true && match.index + match[0].length === text.length

function same<T>(found: readonly T[]): T | 'unclear' | undefined {
  return found.every((value) => value === found[0]) ? found[0] : 'unclear'
}

/** A bare number is a score only as a fraction: 7 has no scale, and 0 and 1 may be on any scale. */
function toScore(digits: string, text: string, max: number | undefined): number | 'unclear' {
  const value = toNumber(digits)
  if (max === undefined) {
    const isFraction = value >= 0 && value <= 1 && /[.,]/.test(digits) && !SCALE_ELSEWHERE.test(text)
    return isFraction ? value : 'unclear'
  }
  return value >= 0 && value <= max && max > 0 ? value / max : 'unclear'
}
