import { formatCost, formatDuration, formatTokens } from './amounts.ts'
import { lastLines, toPlainLine, toTable, truncate } from './plain-text.ts'
import type { RunState, StepLine } from './run-state.ts'
import type { Style, Terminal } from './terminal.ts'

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const
const FRAME_MS = 80
/** Lines of streamed text shown below a running step. */
const TEXT_LINES = 3

export interface TreeView {
  readonly nowMs: number
  readonly columns: number
  readonly style: Style
}

/** Renders a run as lines: every step with its model, usage and time, and running steps with the end of their text. */
export function renderTree(state: RunState, { nowMs, columns, style }: TreeView): readonly string[] {
  const steps = [...state.steps.values()]
  const heads = toTable(steps.map((step) => [step.label, step.model, factsOf(step, nowMs)]))
  const lines = steps.flatMap((step, index) => {
    const notes = step.notes.map((note) => style('yellow', `  ! ${truncate(note, columns - 4)}`))
    const head = `${markOf(step, nowMs, style)} ${truncate(heads[index] ?? '', columns - 2)}`
    return [head, ...notes, ...textOf(step, columns).map((line) => style('dim', `  │ ${line}`))]
  })
  const banner = state.simulated ? `  ${style(['black', 'bgYellow'], ' SIMULATED ')}` : ''
  const title = `${style('bold', truncate(toPlainLine(state.title), columns - 16))}${banner}`
  return state.lastNotice === undefined ? [title, ...lines] : [title, ...lines, style('yellow', state.lastNotice)]
}

const MARKS = { done: ['green', '✔'], failed: ['red', '✖'], skipped: ['dim', '↷'], waiting: ['yellow', '↻'] } as const

function markOf({ status, startedAtMs }: StepLine, nowMs: number, style: Style): string {
  if (status === 'running') return style('cyan', FRAMES[Math.floor((nowMs - startedAtMs) / FRAME_MS) % FRAMES.length] ?? '·')
  const [format, mark] = MARKS[status]
  return style(format, mark)
}

function factsOf({ status, startedAtMs, result }: StepLine, nowMs: number): string {
  if (status === 'skipped') return 'skipped'
  if (!result) return formatDuration(nowMs - startedAtMs)
  const facts = [`${formatTokens(result.usage?.totalTokens)} tokens`, formatCost(result), formatDuration(result.executionTime)]
  return [...(result.error ? [result.error.code] : []), ...facts].join(' · ')
}

const textOf = ({ status, text }: StepLine, columns: number): readonly string[] =>
  status === 'running' || status === 'waiting' ? lastLines(text, Math.max(20, columns - 5), TEXT_LINES) : []

export interface LiveTree {
  /** Paints the whole tree once more and leaves it on the screen. */
  stop(): void
}

const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
// Without wrapping each line takes exactly one row, whatever width the terminal gives its characters, so the cursor
// returns to the right row.
const NO_WRAP = '\u001b[?7l'
const WRAP = '\u001b[?7h'
const CLEAR_BELOW = '\u001b[0J'

/** Repaints the tree in place, every 80 ms, until it is stopped. */
export function startLiveTree(state: RunState, terminal: Terminal, now: () => number): LiveTree {
  let height = 0
  const paint = (isFinal: boolean) => {
    const lines = renderTree(state, { nowMs: now(), columns: terminal.columns, style: terminal.style })
    // Rows that have scrolled out of the screen cannot be repainted.
    const shown = isFinal ? lines : lines.slice(-(terminal.rows - 1))
    const up = height > 0 ? `\u001b[${height}A` : ''
    terminal.write(`${NO_WRAP}${up}\r${CLEAR_BELOW}${shown.join('\n')}\n${WRAP}`)
    height = shown.length
  }
  const showCursor = () => terminal.write(SHOW_CURSOR)
  terminal.write(HIDE_CURSOR)
  process.once('exit', showCursor)
  const timer = setInterval(() => paint(false), FRAME_MS)
  return {
    stop() {
      clearInterval(timer)
      paint(true)
      process.off('exit', showCursor)
      showCursor()
    },
  }
}
