import { withoutControls } from '../domain/control-characters.ts'

// Control sequences for colours and cursor movement (ECMA-48, 5.4) are removed whole; other sequences keep their text.
const INTRODUCER = '(?:\u001b\\[|\u009b)'
const STYLE = new RegExp(`${INTRODUCER}[0-?]*[ -/]*[@-~]`, 'g')

/** Removes control characters from foreign text, so that a terminal only shows it. Tabs and newlines stay. */
export const toPlainText = (text: string): string => withoutControls(text.replace(STYLE, ''))

/** Like `toPlainText`, with all white space collapsed so that the text fits on one line. */
export const toPlainLine = (text: string): string => toPlainText(text).replace(/\s+/g, ' ').trim()

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f000}-\u{3fffd}]/u
const NO_WIDTH = /\p{Mark}|[\u200b-\u200d]/u

const cellsOf = (character: string): number => (NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1)

/** Number of columns that a text takes on a terminal. */
export function toWidth(text: string): number {
  let width = 0
  for (const character of text.replace(STYLE, '')) width += cellsOf(character)
  return width
}

/** Cuts a text to a number of columns and marks the cut with an ellipsis. */
export function truncate(text: string, columns: number): string {
  if (toWidth(text) <= columns) return text
  let cut = ''
  let width = 1
  for (const character of text) {
    width += cellsOf(character)
    if (width > columns) break
    cut += character
  }
  return `${cut}…`
}

/** The last lines of a text, wrapped at a number of columns. Reads only the end of the text. */
export function lastLines(text: string, columns: number, count: number): readonly string[] {
  const end = text.slice(-columns * (count + 1))
  const lines = end.split('\n').flatMap((line) => wrap(line.trim(), columns))
  return lines.filter((line) => line !== '').slice(-count)
}

function wrap(line: string, columns: number): readonly string[] {
  const lines: string[] = []
  let current = ''
  for (const word of line.split(/\s+/)) {
    const joined = current === '' ? word : `${current} ${word}`
    if (toWidth(joined) <= columns || current === '') current = joined
    else {
      lines.push(current)
      current = word
    }
  }
  return [...lines, current]
}

/**
 * Wraps a text between words at a number of columns. Keeps its own line breaks and indentation, and breaks words that
 * are longer than a line.
 */
export function wrapText(text: string, columns: number): string {
  return text
    .split('\n')
    .flatMap((line) => wrapLine(line.trimEnd(), Math.max(columns, 10)))
    .join('\n')
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

function wrapLine(line: string, columns: number): readonly string[] {
  if (toWidth(line) <= columns) return [line]
  const lines: string[] = []
  let current = ''
  let width = 0
  const push = (text: string) => {
    for (const { segment } of segmenter.segment(text)) {
      const cells = toWidth(segment)
      if (width + cells > columns && current !== '') end()
      current += segment
      width += cells
    }
  }
  const end = () => {
    lines.push(current.trimEnd())
    current = ''
    width = 0
  }
  // Lines may break between any two wide characters, such as those of Chinese and Japanese.
  for (const [word] of line.matchAll(/\s+|[^\s]+/gu)) {
    const isSpace = word.trim() === ''
    if (isSpace && current === '' && lines.length > 0) continue
    const fits = width + toWidth(word) <= columns
    if (!fits && !isSpace && current.trim() !== '' && !WIDE.test(word)) end()
    if (fits || !isSpace) push(word)
    else end()
  }
  return current === '' ? lines : [...lines, current.trimEnd()]
}

/** Lines of a table, each column padded to its widest cell, except the last one. Cells may contain styles. */
export function toTable(rows: readonly (readonly string[])[], alignRight: readonly number[] = []): readonly string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, toWidth(cell))
    })
  }
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const gap = ' '.repeat((widths[column] ?? 0) - toWidth(cell))
        if (alignRight.includes(column)) return gap + cell
        return column === row.length - 1 ? cell : cell + gap
      })
      .join('  ')
      .trimEnd(),
  )
}

/** An instant to the minute, in UTC: `2026-11-28 22:10`. */
export const toMinute = (instant: Date): string => instant.toISOString().slice(0, 16).replace('T', ' ')
