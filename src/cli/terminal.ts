import { styleText } from 'node:util'
import { toPlainText } from './plain-text.ts'

type Format = Parameters<typeof styleText>[0]

/** Adds colours if they are enabled. The text must already be plain. */
export type Style = (format: Format, text: string) => string

/** Standard output and standard error as commands use them. */
export interface Terminal {
  /** Whether stdout is a terminal, which can be repainted. */
  readonly isLive: boolean
  /** Whether a person can answer questions. */
  readonly canAsk: boolean
  readonly columns: number
  readonly rows: number
  readonly style: Style
  /** Writes one or more lines to stdout. Styles are kept, so foreign text must already be plain. */
  print(text?: string): void
  /** Writes one line of JSON to stdout, with control characters escaped. */
  printJson(value: unknown): void
  /** Writes one or more lines to stderr, after making them plain. */
  warn(text: string): void
  /** Writes characters to stdout unchanged, for repainting. */
  write(text: string): void
}

const plain: Style = (_format, text) => text
// JSON.stringify does not escape DEL and C1, and terminals act on them.
const RAW_CONTROL = /[\u007f-\u009f]/g
const escapeControl = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

export function createTerminal({ stdout, stderr, stdin, env }: NodeJS.Process): Terminal {
  const isLive = stdout.isTTY === true && env.TERM !== 'dumb'
  const withColour = env.NO_COLOR ? false : env.FORCE_COLOR ? env.FORCE_COLOR !== '0' : isLive
  return {
    isLive,
    canAsk: isLive && stdin.isTTY === true && !env.CI,
    get columns() {
      return stdout.columns || 80
    },
    get rows() {
      return stdout.rows || 24
    },
    style: withColour ? (format, text) => styleText(format, text) : plain,
    print: (text = '') => void stdout.write(`${text}\n`),
    printJson: (value) => void stdout.write(`${JSON.stringify(value).replace(RAW_CONTROL, escapeControl)}\n`),
    warn: (text) => void stderr.write(`${toPlainText(text)}\n`),
    write: (text) => void stdout.write(text),
  }
}
