import { figures } from './figures.mjs'

const COLUMNS = ['figure', 'in flight', 'ours', 'floor', 'ratio', 'middle half', 'difference', 'target', 'met']
const TARGET_WORDS = { ratio: 'ratio', difference: 'difference', ours: 'ours' }

const toNumber = (value, digits = 3) => {
  if (value === undefined || !Number.isFinite(value)) return ''
  if (Math.abs(value) >= 1000) return value.toFixed(0)
  return Number(value.toPrecision(digits)).toString()
}

const withUnit = (value, unit) => (value === undefined ? '' : `${toNumber(value)}${unit ? ` ${unit}` : ''}`)

const toTarget = ({ of, atLeast, atMost, unit }) =>
  atLeast === undefined ? `${TARGET_WORDS[of]} ≤ ${atMost}${unit}` : `${TARGET_WORDS[of]} ≥ ${atLeast}${unit}`

function toCells(row) {
  const { title, unit } = figures[row.figure]
  return [
    `${title} (${row.kind})`,
    String(row.inFlight),
    withUnit(row.ours, unit),
    withUnit(row.floor, unit),
    row.ratio === undefined ? '' : row.ratio.toFixed(2),
    row.spread ? row.spread.map((ratio) => ratio.toFixed(2)).join(' to ') : '',
    withUnit(row.difference, unit),
    row.target ? toTarget(row.target) : '',
    row.target ? (row.met ? 'yes' : 'NO') : '',
  ]
}

/** Formats rows as a Markdown table that is also readable on a terminal. */
export function toTable(rows) {
  const lines = [COLUMNS, ...rows.map(toCells)]
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((cells) => cells[column].length)))
  const toLine = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  const [head, ...body] = lines.map(toLine)
  return [head, toLine(widths.map((width) => '-'.repeat(width))), ...body].join('\n')
}

const PLACES = 40

/** The functions that cost most above the floor. */
export function toPlaceList(places, unit) {
  const toLine = (difference, ours, floor, place) =>
    `${difference.padStart(9)} ${ours.padStart(9)} ${floor.padStart(9)}  ${place}`
  const lines = places
    .slice(0, PLACES)
    .map(({ place, ours, floor }) => toLine((ours - floor).toFixed(2), ours.toFixed(2), floor.toFixed(2), place))
  return [toLine('above', 'ours', 'floor', unit ? `function (${unit} per flow)` : 'function (per flow)'), ...lines].join('\n')
}
