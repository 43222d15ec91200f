/** A scale as a reviewer states it. `min` is 0 if only the upper end is stated. */
interface Scale {
  readonly min: number
  readonly max: number
}

/** Keys, in the form of `plainKey`, under which reviewers state the scale of a score. */
const SCALE_KEYS = [
  ...['scale', 'outof', 'range', 'unit', 'units', 'of'],
  ...['max', 'maximum', 'maxscore', 'maximumscore', 'scoremax', 'maxpoints', 'maxvalue', 'scalemax', 'upperbound'],
  ...['scorescale', 'scorerange', 'ratingscale', 'scoreoutof', 'scoringscale'],
]
const TOP_WORDS = ['max', 'maximum', 'highest', 'possible', 'maxpossible', 'maximumpossible', 'highestpossible', 'total', 'full']
const UNIT_WORDS = ['score', 'points', 'marks', 'rating', 'grade', 'value']
/**
 * Keys that may also have another meaning. They name the end of a scale only where they hold a number above 1. A
 * `total_score` is the score itself.
 */
const NUMERIC_SCALE_KEYS = [
  ...['possible', 'maxpossible', 'maximumpossible', 'highest', 'highestpossible', 'total', 'totalpossible', 'denominator'],
  ...TOP_WORDS.flatMap((top) => UNIT_WORDS.flatMap((unit) => [top + unit, unit + top])),
].filter(
  (key) => !SCALE_KEYS.includes(key) && !['totalscore', 'scoretotal', 'totalrating', 'totalgrade', 'totalvalue'].includes(key),
)
const MIN_KEYS = ['min', 'minimum', 'minscore', 'minimumscore', 'scoremin', 'scalemin']
/** Keys of the number itself, where the score is an object. */
const VALUE_KEYS = ['value', 'score', 'points', 'rating', 'number']

/** The form in which keys are compared: `out_of`, `outOf` and `Out of` are equal. */
export const plainKey = (key: string): string => key.toLowerCase().replace(/[^a-z0-9]/g, '')

const NUMBER = String.raw`(-?\d{1,4}(?:[.,]\d{1,6})?)`
const SCORE_TEXT = new RegExp(
  String.raw`^[*_"'\s]{0,5}${NUMBER}(?:\s*\(?(?:/|(?:out\s+)?of)\s*(\d{1,4}(?:\.0{1,2})?)\)?|\s*(%|per\s?cent))?(?:\s*(?:stars?|points?|pts))?[.!*_"'\s]{0,5}$`,
  'i',
)

/**
 * Parses a text that consists of a score alone: `8/10`, `85%`, `4 of 5 stars`. `max` is absent if the text names no
 * scale.
 */
export function parseScoreText(text: string): ScoreText | undefined {
  const [, digits, max, percent] = SCORE_TEXT.exec(text) ?? []
  if (digits === undefined) return undefined
  const value = toNumber(digits)
  if (percent !== undefined) return { digits, value, max: 100 }
  return max === undefined ? { digits, value } : { digits, value, max: Number(max) }
}

interface ScoreText {
  /** The number as it stands in the text. */
  readonly digits: string
  readonly value: number
  readonly max?: number
}

/** Parses `1.5` and `1,5`. */
export const toNumber = (digits: string): number => Number(digits.replace(',', '.'))

/**
 * The score of a verdict object, 0 to 1. `given` is the value of its score, `fields` are all its fields by `plainKey`.
 * `undefined` if no number is stated; `unreadable` if the number cannot be converted: it is beyond its scale, its scale
 * is invalid, two scales are stated, or it is above 1 without a scale.
 */
export function readScore(given: unknown, fields: ReadonlyMap<string, unknown>): number | 'unreadable' | undefined {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return readScoreObject(given, fields)
  const parsed: Pick<ScoreText, 'value' | 'max'> | undefined = typeof given === 'number' ? { value: given } : parseText(given)
  if (parsed === undefined) return undefined
  const scale = commonScale(parsed.max === undefined ? [] : [{ min: 0, max: parsed.max }], fields)
  if (scale === 'unreadable' || !Number.isFinite(parsed.value)) return 'unreadable'
  // A 0 or 1 in text without a scale may be on any scale.
  if (!scale && typeof given === 'string' && !/[.,]/.test(given)) return 'unreadable'
  const { min, max } = scale ?? { min: 0, max: 1 }
  return parsed.value >= min && parsed.value <= max ? (parsed.value - min) / (max - min) : 'unreadable'
}

function readScoreObject(given: object, outerFields: ReadonlyMap<string, unknown>): number | 'unreadable' | undefined {
  const inner = new Map<string, unknown>(Object.entries(given).map(([key, value]) => [plainKey(key), value]))
  const value = VALUE_KEYS.map((key) => inner.get(key)).find((found) => typeof found === 'number' || typeof found === 'string')
  const fields = new Map([...outerFields, ...inner])
  return value === undefined ? undefined : readScore(value, fields)
}

function parseText(given: unknown): Pick<ScoreText, 'value' | 'max'> | undefined {
  if (typeof given !== 'string') return undefined
  const parsed = parseScoreText(given)
  if (parsed || !/^\s*-?\d/.test(given)) return parsed
  // The text begins with a number but is not a score: a range or a version, for example.
  return { value: Number.NaN }
}

/** The scale on which all statements agree; `undefined` if no scale is named. */
function commonScale(stated: readonly Scale[], fields: ReadonlyMap<string, unknown>): Scale | 'unreadable' | undefined {
  const scales: Scale[] = [...stated]
  const lowest = MIN_KEYS.map((key) => fields.get(key)).find((value) => typeof value === 'number') ?? 0
  for (const key of SCALE_KEYS) {
    const value = fields.get(key)
    if (value === undefined || value === null || (/^(?:units?|of)$/.test(key) && !isPercent(value))) continue
    const scale = toScale(value, Number(lowest))
    if (!scale) return 'unreadable'
    scales.push(scale)
  }
  for (const key of NUMERIC_SCALE_KEYS) {
    const value = fields.get(key)
    if (typeof value === 'number' && value > 1) scales.push({ min: Number(lowest), max: value })
  }
  const [first] = scales
  if (!first) return undefined
  const isConsistent = scales.every(({ min, max }) => max === first.max && (min === first.min || min === 0 || first.min === 0))
  const min = Math.max(...scales.map((scale) => scale.min))
  return isConsistent && first.max > min && min >= 0 ? { min, max: first.max } : 'unreadable'
}

const isPercent = (value: unknown): boolean => typeof value === 'string' && /^\s*(?:%|per\s?cent|percentage)\s*$/i.test(value)

function toScale(value: unknown, lowest: number): Scale | undefined {
  if (typeof value === 'number') return { min: lowest, max: value }
  if (isPercent(value)) return { min: 0, max: 100 }
  if (typeof value === 'string') return scaleInWords(value, lowest)
  if (typeof value !== 'object' || value === null) return undefined
  const ends: readonly unknown[] = Array.isArray(value) ? value : endsOf(value)
  const [min, max] = ends.length === 1 ? [lowest, ends[0]] : ends
  return ends.length <= 2 && typeof min === 'number' && typeof max === 'number' ? { min, max } : undefined
}

function endsOf(value: object): readonly unknown[] {
  const fields = new Map<string, unknown>(Object.entries(value).map(([key, member]) => [plainKey(key), member]))
  return [
    fields.get('min') ?? fields.get('minimum') ?? fields.get('from') ?? 0,
    fields.get('max') ?? fields.get('maximum') ?? fields.get('to'),
  ]
}

const SCALE_IN_WORDS =
  /^\s*(?:(?:from|between)\s+)?(?:(\d{1,4}(?:[.,]\d{1,3})?)\s*(?:-|–|—|\.\.\.?|to|and|…)\s*)?(?:\/|out\s+of|of)?\s*(\d{1,4}(?:[.,]\d{1,3})?)\s*(?:points?|stars?|pts|%|per\s?cent)?\s*$/i

/** Parses `10`, `/10`, `out of 10`, `0-10`, `1 to 5`, `0-100%`. */
function scaleInWords(text: string, lowest: number): Scale | undefined {
  const [, min, max] = SCALE_IN_WORDS.exec(text) ?? []
  return max === undefined ? undefined : { min: min === undefined ? lowest : toNumber(min), max: toNumber(max) }
}
