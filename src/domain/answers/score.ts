/** A scale as a judge states it. `min` is 0 where only the upper end is named. */
interface Scale {
  readonly min: number
  readonly max: number
}

/** Keys, in the form of `plainKey`, under which judges say what a score is out of. */
const SCALE_KEYS = [
  ...['scale', 'outof', 'range', 'unit', 'units', 'of'],
  ...['max', 'maximum', 'maxscore', 'maximumscore', 'scoremax', 'maxpoints', 'maxvalue', 'scalemax', 'upperbound'],
  ...['scorescale', 'scorerange', 'ratingscale', 'scoreoutof', 'scoringscale'],
]
const TOP_WORDS = ['max', 'maximum', 'highest', 'possible', 'maxpossible', 'maximumpossible', 'highestpossible', 'total', 'full']
const UNIT_WORDS = ['score', 'points', 'marks', 'rating', 'grade', 'value']
/** Words that also name other things than the end of a scale: they count where they hold a number above 1. A `total_score` is the score itself. */
const NUMERIC_SCALE_KEYS = [
  ...['possible', 'maxpossible', 'maximumpossible', 'highest', 'highestpossible', 'total', 'totalpossible', 'denominator'],
  ...TOP_WORDS.flatMap((top) => UNIT_WORDS.flatMap((unit) => [top + unit, unit + top])),
].filter(
  (key) => !SCALE_KEYS.includes(key) && !['totalscore', 'scoretotal', 'totalrating', 'totalgrade', 'totalvalue'].includes(key),
)
const MIN_KEYS = ['min', 'minimum', 'minscore', 'minimumscore', 'scoremin', 'scalemin']
/** Keys of the number itself, where a score is an object of its own. */
const VALUE_KEYS = ['value', 'score', 'points', 'rating', 'number']

/** A key as it is compared: `out_of`, `outOf` and `Out of` are one. */
export const plainKey = (key: string): string => key.toLowerCase().replace(/[^a-z0-9]/g, '')

const NUMBER = String.raw`(-?\d{1,4}(?:[.,]\d{1,6})?)`
const WRITTEN_SCORE = new RegExp(
  String.raw`^[*_"'\s]{0,5}${NUMBER}(?:\s*\(?(?:/|(?:out\s+)?of)\s*(\d{1,4}(?:\.0{1,2})?)\)?|\s*(%|per\s?cent))?(?:\s*(?:stars?|points?|pts))?[.!*_"'\s]{0,5}$`,
  'i',
)

/** A score that is the whole text: `8/10`, `85%`, `4 of 5 stars`; `max` is absent where the text names no scale. */
export function parseWrittenScore(text: string): WrittenScore | undefined {
  const [, written, max, percent] = WRITTEN_SCORE.exec(text) ?? []
  if (written === undefined) return undefined
  const value = toNumber(written)
  if (percent !== undefined) return { written, value, max: 100 }
  return max === undefined ? { written, value } : { written, value, max: Number(max) }
}

interface WrittenScore {
  /** The number as it stands there. */
  readonly written: string
  readonly value: number
  readonly max?: number
}

/** `1.5` and `1,5`. */
export const toNumber = (written: string): number => Number(written.replace(',', '.'))

/**
 * The score of a verdict object, 0 to 1: `written` is what stands under its score, `fields` are all of the object's, by `plainKey`. `undefined` where
 * no number is stated; `unreadable` where one is and no scale makes it a score: beyond its scale, on a bad scale, on two scales, or above 1 on none.
 */
export function readScore(written: unknown, fields: ReadonlyMap<string, unknown>): number | 'unreadable' | undefined {
  if (typeof written === 'object' && written !== null && !Array.isArray(written)) return readScoreObject(written, fields)
  const deps: Pick<WrittenScore, 'value' | 'max'> | undefined =
    typeof written === 'number' ? { value: written } : parseText(written)
  if (deps === undefined) return undefined
  const scale = commonScale(deps.max === undefined ? [] : [{ min: 0, max: deps.max }], fields)
  if (scale === 'unreadable' || !Number.isFinite(deps.value)) return 'unreadable'
  // A bare 0 or 1 that was written as text may stand on any scale.
  if (!scale && typeof written === 'string' && !/[.,]/.test(written)) return 'unreadable'
  const { min, max } = scale ?? { min: 0, max: 1 }
  return deps.value >= min && deps.value <= max ? (deps.value - min) / (max - min) : 'unreadable'
}

function readScoreObject(written: object, around: ReadonlyMap<string, unknown>): number | 'unreadable' | undefined {
  const inner = new Map<string, unknown>(Object.entries(written).map(([key, value]) => [plainKey(key), value]))
  const value = VALUE_KEYS.map((key) => inner.get(key)).find((found) => typeof found === 'number' || typeof found === 'string')
  const fields = new Map([...around, ...inner])
  return value === undefined ? undefined : readScore(value, fields)
}

function parseText(written: unknown): Pick<WrittenScore, 'value' | 'max'> | undefined {
  if (typeof written !== 'string') return undefined
  const deps = parseWrittenScore(written)
  if (deps || !/^\s*-?\d/.test(written)) return deps
  // It begins with a number and is no score: a range, a version.
  return { value: Number.NaN }
}

/** The one scale that is named; `undefined` where none is. */
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
  const agree = scales.every(({ min, max }) => max === first.max && (min === first.min || min === 0 || first.min === 0))
  const min = Math.max(...scales.map((scale) => scale.min))
  return agree && first.max > min && min >= 0 ? { min, max: first.max } : 'unreadable'
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

/** `10`, `/10`, `out of 10`, `0-10`, `1 to 5`, `0-100%`. */
function scaleInWords(text: string, lowest: number): Scale | undefined {
  const [, min, max] = SCALE_IN_WORDS.exec(text) ?? []
  return max === undefined ? undefined : { min: min === undefined ? lowest : toNumber(min), max: toNumber(max) }
}
