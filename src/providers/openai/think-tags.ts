/** Marks around the reasoning that open models write into the text of an answer. */
interface Marks {
  /** Matches the opening mark at the start of a text. Its first group matches if the mark closes itself. */
  readonly open: RegExp
  /** Matches either mark anywhere. Its first group matches for closing marks. */
  readonly either: RegExp
}

const NAMES = ['think', 'thinking', 'thought', 'thoughts', 'reasoning', 'reason', 'reflection', 'seed:think', 'longcat_think']
const NAME = NAMES.join('|')

/**
 * Named tags in any case, with attributes and white space. A tag of any name closes any other, because models mix them
 * up.
 */
const TAGS: Marks = {
  open: new RegExp(`^<\\s*(?:${NAME})(?:\\s[^<>]*?)?(/)?>`, 'i'),
  either: new RegExp(`<\\s*(/)?\\s*(?:${NAME})(?:\\s[^<>]*)?>`, 'gi'),
}

/** Marks of Magistral, Cohere, Kimi, Sky-T1, Apertus, gpt-oss and Gemma, from their chat templates (2026-11). */
const LITERALS: readonly (readonly [open: string, close: string])[] = [
  ['[THINK]', '[/THINK]'],
  ['<|START_THINKING|>', '<|END_THINKING|>'],
  ['◁think▷', '◁/think▷'],
  ['<|begin_of_thought|>', '<|end_of_thought|>'],
  ['<|inner_prefix|>', '<|inner_suffix|>'],
  ['<|channel|>analysis<|message|>', '<|end|>'],
  ['<|channel>thought', '<channel|>'],
]
/** Marks of some of these models between the reasoning and the answer. */
const ANSWER_STARTS = [
  '<|START_RESPONSE|>',
  '<|begin_of_solution|>',
  '<|start|>assistant<|channel|>final<|message|>',
  '<|channel|>final<|message|>',
]

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
const ALL_MARKS: readonly Marks[] = [
  TAGS,
  ...LITERALS.map(([open, close]) => ({
    open: new RegExp(`^${escaped(open)}()?`, 'i'),
    either: new RegExp(`(${escaped(close)})|${escaped(open)}`, 'gi'),
  })),
]
const OPENINGS = [...NAMES.map((name) => `<${name}`), ...LITERALS.map(([open]) => open.toLowerCase())]
const MARK_STARTS_AFTER_REASONING = [...OPENINGS, ...ANSWER_STARTS.map((mark) => mark.toLowerCase())]
const ANSWER_START = new RegExp(`^(?:${ANSWER_STARTS.map(escaped).join('|')})\\s*`, 'i')

/** Closing marks that may come without an opening one, because the chat template put that into the prompt. */
const CLOSES = `<\\s*/\\s*(?:${NAME})\\s*>|\\[/THINK\\]|<\\|END_THINKING\\|>|◁/think▷`
const EITHER = new RegExp(`(${CLOSES})|<\\s*(?:${NAME})(?:\\s[^<>]*)?>|\\[THINK\\]|<\\|START_THINKING\\|>|◁think▷`, 'gi')
/** Matches text at the end of a chunk that may be the start of a mark. */
const PARTIAL_MARK = /(?:<[^<>\n]{0,40}|\[\/?[a-z]{0,5}|◁\/?[a-z]{0,5})$/i
const LONGEST_MARK = 48
const LONGEST_OPENING_TAG = 200

export interface ThinkSplit {
  readonly text: string
  readonly reasoning: string
  /**
   * Whether all text returned before was reasoning, because a closing mark came whose opening mark was in the prompt.
   * `reasoning` then repeats it.
   */
  readonly isVoid?: boolean
}

export interface ThinkSplitter {
  push(chunk: string): ThinkSplit
  /** Returns text that was held back because it could have been the start of a mark. */
  end(): ThinkSplit
}

const NOTHING: ThinkSplit = { text: '', reasoning: '' }
const textOnly = (text: string): ThinkSplit => ({ text, reasoning: '' })

/**
 * Whether the chat template of a model opens the reasoning in the prompt, so that answers hold only the closing mark
 * (model cards, 2026-11).
 */
export const opensInPrompt = (model: string): boolean =>
  /(^|[/:_-])r1([.:_-]|$)|qwq|-thinking([.:_-]|$)|openreasoning|skywork-or1/i.test(model)

/**
 * Splits an answer that starts with reasoning between marks (open models on Ollama, vLLM, LM Studio, Bedrock) into
 * reasoning and text, chunk by chunk. Later marks belong to the text.
 *
 * A closing mark without an opening one, outside of code, ends reasoning that started with the answer. For models that
 * are known to answer so (`isOpenInPrompt`) the text is held back until the mark. For others it has been returned by
 * then and is declared void.
 */
export function createThinkSplitter({ isOpenInPrompt = false } = {}): ThinkSplitter {
  let state: 'start' | 'inside' | 'text' = 'start'
  let heldText = ''
  let marks = TAGS
  /** Whether reasoning was closed. White space before the answer is then dropped, and later closing marks are text. */
  let isClosed = false
  /** Text returned so far, which a lone closing mark would make void. */
  let given = ''
  /** Length of the part of `held` that was searched for a mark. */
  let searched = 0

  function push(chunk: string): ThinkSplit {
    if (state === 'text' && isClosed) return textOnly(chunk)
    heldText += chunk
    return read(false)
  }

  function read(isEnd: boolean): ThinkSplit {
    let reasoning = ''
    for (;;) {
      if (state === 'start') {
        const begin = heldText.trimStart()
        if (open(begin)) continue
        if (!isEnd && mayBegin(begin, isClosed)) return reasoning === '' ? NOTHING : { text: '', reasoning }
        state = 'text'
        if (isClosed) heldText = begin.replace(ANSWER_START, '')
      } else if (state === 'inside') {
        const length = closedLength(isEnd)
        reasoning += heldText.slice(0, length.reasoning)
        heldText = heldText.slice(length.taken)
        if (state === 'inside') return { text: '', reasoning }
      } else {
        const rest = readText(isEnd)
        return reasoning === '' ? rest : { ...rest, reasoning: reasoning + rest.reasoning }
      }
    }
  }

  function open(begin: string): boolean {
    for (const pair of ALL_MARKS) {
      const match = pair.open.exec(begin)
      if (!match) continue
      heldText = begin.slice(match[0].length)
      marks = pair
      isClosed ||= match[1] === '/'
      state = match[1] === '/' ? 'start' : 'inside'
      return true
    }
    return false
  }

  /**
   * Finds the closing mark. At the end the last one counts, so that an opening mark quoted in the reasoning does not
   * hide the answer.
   */
  function closedLength(isEnd: boolean): { readonly reasoning: number; readonly taken: number } {
    let depth = 1
    let close: RegExpExecArray | undefined
    let isNested = false
    for (const match of heldText.matchAll(marks.either)) {
      isNested ||= match[1] === undefined
      depth += match[1] === undefined ? 1 : -1
      if (match[1] !== undefined) close = match
      if (depth === 0) break
    }
    if (close && (depth === 0 || isEnd)) {
      state = 'start'
      isClosed = true
      return { reasoning: close.index, taken: close.index + close[0].length }
    }
    if (isEnd) return { reasoning: heldText.length, taken: heldText.length }
    const free = isNested || close ? 0 : heldText.length - partialMarkLength(heldText)
    return { reasoning: free, taken: free }
  }

  function readText(isEnd: boolean): ThinkSplit {
    const close = isClosed ? undefined : findLoneClose()
    // Only the next character shows whether the mark is quoted.
    const isUndecided =
      close !== undefined &&
      !isEnd &&
      close.index + close[0].length === heldText.length &&
      isQuoteBefore(given + heldText.slice(0, close.index))
    if (close && !isUndecided) {
      const isVoid = given !== ''
      const reasoning = given + heldText.slice(0, close.index)
      heldText = heldText.slice(close.index + close[0].length)
      given = ''
      state = 'start'
      isClosed = true
      const rest = read(isEnd)
      return { text: rest.text, reasoning: reasoning + rest.reasoning, ...(isVoid && { isVoid }) }
    }
    if (isOpenInPrompt && !isClosed && !isEnd) return NOTHING
    const free = close ? close.index : isClosed || isEnd ? heldText.length : heldText.length - partialMarkLength(heldText)
    const text = heldText.slice(0, free)
    heldText = heldText.slice(free)
    searched = 0
    if (!isClosed) given += text
    return textOnly(text)
  }

  function findLoneClose(): RegExpExecArray | undefined {
    EITHER.lastIndex = Math.max(0, searched - LONGEST_MARK)
    let match = EITHER.exec(heldText)
    while (
      match &&
      (match[1] === undefined || !isLone(given + heldText.slice(0, match.index), heldText.slice(EITHER.lastIndex)))
    ) {
      match = EITHER.exec(heldText)
    }
    searched = heldText.length
    return match ?? undefined
  }

  return { push, end: () => (heldText === '' ? NOTHING : read(true)) }
}

/**
 * Whether a closing mark between the two texts ends reasoning: it is neither in code nor quoted, and closes no opening
 * mark.
 */
function isLone(before: string, after: string): boolean {
  if ((before.match(/^\s*(```|~~~)/gm)?.length ?? 0) % 2 === 1) return false
  const line = before.slice(before.lastIndexOf('\n') + 1)
  if ((line.match(/`/g)?.length ?? 0) % 2 === 1 || (isQuoteBefore(before) && /^["'”’»)]/.test(after))) return false
  let open = 0
  for (const match of before.matchAll(new RegExp(EITHER))) open = Math.max(0, open + (match[1] === undefined ? 1 : -1))
  return open === 0
}

const isQuoteBefore = (before: string): boolean => /["'“‘«(]$/.test(before)

/** Whether a text may be the start of a mark. */
function mayBegin(begin: string, isClosed: boolean): boolean {
  const text = begin.replace(/^<\s+/, '<').toLowerCase()
  if ((isClosed ? MARK_STARTS_AFTER_REASONING : OPENINGS).some((mark) => mark.startsWith(text))) return true
  return text.length < LONGEST_OPENING_TAG && new RegExp(`^<(?:${NAME})(?:/|\\s[^<>]*)?$`).test(text)
}

const partialMarkLength = (text: string): number => PARTIAL_MARK.exec(text)?.[0].length ?? 0
