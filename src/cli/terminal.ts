import { styleText } from 'node:util'
import { toPlainText } from './plain-text.ts'

type Format = Parameters<typeof styleText>[0]

/** Adds colours where they are wanted; text must be plain already. */
export type Style = (format: Format, text: string) => string

/** Where a command writes to. */
export interface Terminal {
  /** People look at stdout: it may be repainted. */
  readonly isLive: boolean
  /** People can answer questions. */
  readonly canAsk: boolean
  readonly columns: number
  readonly rows: number
  readonly style: Style
  /** One or more lines on stdout; styles are kept, so what is not ours must be plain already. */
  print(text?: string): void
  /** One line of JSON on stdout, without raw control characters. */
  printJson(value: unknown): void
  /** One or more lines on stderr, made plain. */
  warn(text: string): void
  /** Characters as they are, for repainting. */
  write(text: string): void
}

const plain: Style = (_format, text) => text
// JSON leaves DEL and C1 as they are, and terminals obey them.
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
