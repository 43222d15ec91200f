import { readFileSync } from 'node:fs'

export interface CodeBlock {
  readonly language: string
  readonly code: string
  /** Line of the opening fence, from 1. */
  readonly line: number
}

export interface MarkdownTable {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export const readMarkdown = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** Fenced blocks that begin at the start of a line. */
export function codeBlocks(markdown: string): readonly CodeBlock[] {
  const blocks: CodeBlock[] = []
  let open: { language: string; line: number; lines: string[] } | undefined
  for (const [index, line] of markdown.split('\n').entries()) {
    if (!line.startsWith('```')) open?.lines.push(line)
    else if (open) {
      blocks.push({ language: open.language, code: open.lines.join('\n'), line: open.line })
      open = undefined
    } else open = { language: line.slice(3).trim(), line: index + 1, lines: [] }
  }
  return blocks
}

/** The tables of a text, cells trimmed, `\|` read as `|`. */
export function tables(markdown: string): readonly MarkdownTable[] {
  const found: string[][][] = []
  let current: string[][] | undefined
  for (const line of markdown.split('\n')) {
    if (!line.startsWith('|')) {
      current = undefined
      continue
    }
    if (!current) {
      current = []
      found.push(current)
    }
    current.push(
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    )
  }
  return found.map(([head = [], , ...rows]) => ({ head, rows }))
}

/** Rows of the only table whose first heading is this. */
export function tableOf(markdown: string, firstHeading: string): MarkdownTable['rows'] {
  const matching = tables(markdown).filter(({ head }) => head[0] === firstHeading)
  const [table] = matching
  if (!table || matching.length > 1)
    throw new Error(`expected one table that begins with "${firstHeading}", found ${matching.length}`)
  return table.rows
}

/** Inline code, in order; fenced blocks are left out. */
export const codeIn = (text: string): readonly string[] =>
  [...text.replaceAll(/^```.*?^```$/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
