/** How open models mark their reasoning inside the text of an answer. */
interface Marks {
  /** The opening mark at the beginning of a text; its first group is set where it closes itself. */
  readonly open: RegExp
  /** Either mark, wherever it stands; its first group is set for closing ones. */
  readonly either: RegExp
}

const NAMES = ['think', 'thinking', 'thought', 'thoughts', 'reasoning', 'reason', 'reflection', 'seed:think', 'longcat_think']
const NAME = NAMES.join('|')

/** Tags with a name, which differ in case, attributes and white space. Any name closes any other: models mix them up. */
const TAGS: Marks = {
  open: new RegExp(`^<\\s*(?:${NAME})(?:\\s[^<>]*?)?(/)?>`, 'i'),
  either: new RegExp(`<\\s*(/)?\\s*(?:${NAME})(?:\\s[^<>]*)?>`, 'gi'),
}

/** Marks of Magistral, Cohere, Kimi, Sky-T1, Apertus, gpt-oss and Gemma, as their chat templates write them (2026-11). */
const LITERALS: readonly (readonly [open: string, close: string])[] = [
  ['[THINK]', '[/THINK]'],
  ['<|START_THINKING|>', '<|END_THINKING|>'],
  ['◁think▷', '◁/think▷'],
  ['<|begin_of_thought|>', '<|end_of_thought|>'],
  ['<|inner_prefix|>', '<|inner_suffix|>'],
  ['<|channel|>analysis<|message|>', '<|end|>'],
  ['<|channel>thought', '<channel|>'],
]
/** Marks around the answer itself, which follow the reasoning of some of these models. */
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
const BEGINNINGS_BEHIND = [...OPENINGS, ...ANSWER_STARTS.map((mark) => mark.toLowerCase())]
const ANSWER_START = new RegExp(`^(?:${ANSWER_STARTS.map(escaped).join('|')})\\s*`, 'i')

/** Closing marks that stand alone where the chat template wrote the opening one into the prompt; their first group is set. */
const CLOSES = `<\\s*/\\s*(?:${NAME})\\s*>|\\[/THINK\\]|<\\|END_THINKING\\|>|◁/think▷`
const EITHER = new RegExp(`(${CLOSES})|<\\s*(?:${NAME})(?:\\s[^<>]*)?>|\\[THINK\\]|<\\|START_THINKING\\|>|◁think▷`, 'gi')
/** What may be the beginning of a mark, at the end of a chunk. */
const BEGUN_MARK = /(?:<[^<>\n]{0,40}|\[\/?[a-z]{0,5}|◁\/?[a-z]{0,5})$/i
const LONGEST_MARK = 48
const LONGEST_OPENING_TAG = 200

export interface ThinkSplit {
  readonly text: string
  readonly reasoning: string
  /** All text given before was reasoning, repeated here as such: a closing mark followed whose opening one stood in the prompt. */
  readonly isVoid?: boolean
}

export interface ThinkSplitter {
  push(chunk: string): ThinkSplit
  /** What was held back because it could have been the beginning of a mark. */
  end(): ThinkSplit
}

const NOTHING: ThinkSplit = { text: '', reasoning: '' }
const textOnly = (text: string): ThinkSplit => ({ text, reasoning: '' })

/** Models whose chat templates open the reasoning in the prompt, by name (their model cards, 2026-11): the answer holds the closing mark alone. */
export const opensInPrompt = (model: string): boolean =>
  /(^|[/:_-])r1([.:_-]|$)|qwq|-thinking([.:_-]|$)|openreasoning|skywork-or1/i.test(model)

/**
 * Parts an answer that begins with reasoning between marks (open models on Ollama, vLLM, LM Studio, Bedrock) into reasoning and text, chunk by
 * chunk. Marks further on belong to the text.
 *
 * A closing mark without an opening one, outside of code, says that all text before it was reasoning. For models that are known to answer so
 * (`isOpenInPrompt`) text waits for the mark; for others it has been given by then and is declared void.
 */
export function createThinkSplitter({ isOpenInPrompt = false } = {}): ThinkSplitter {
  let place: 'start' | 'inside' | 'text' = 'start'
  let held = ''
  let marks = TAGS
  /** Reasoning was closed: white space before the answer goes, and no lone closing mark is looked for. */
  let isBehind = false
  /** Text given so far that a lone closing mark would make void. */
  let given = ''
  /** Length of the part of `held` in which no mark was found. */
  let searched = 0

  function push(chunk: string): ThinkSplit {
    if (place === 'text' && isBehind) return textOnly(chunk)
    held += chunk
    return read(false)
  }

  function read(isEnd: boolean): ThinkSplit {
    let reasoning = ''
    for (;;) {
      if (place === 'start') {
        const begin = held.trimStart()
        if (open(begin)) continue
        if (!isEnd && mayBegin(begin, isBehind)) return reasoning === '' ? NOTHING : { text: '', reasoning }
        place = 'text'
        if (isBehind) held = begin.replace(ANSWER_START, '')
      } else if (place === 'inside') {
        const length = closedLength(isEnd)
        reasoning += held.slice(0, length.reasoning)
        held = held.slice(length.taken)
        if (place === 'inside') return { text: '', reasoning }
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
      held = begin.slice(match[0].length)
      marks = pair
      isBehind ||= match[1] === '/'
      place = match[1] === '/' ? 'start' : 'inside'
      return true
    }
    return false
  }

  /** Finds the closing mark. Reasoning that only speaks of an opening mark must not swallow the answer: at the end the last closing mark counts. */
  function closedLength(isEnd: boolean): { readonly reasoning: number; readonly taken: number } {
    let depth = 1
    let close: RegExpExecArray | undefined
    let isNested = false
    for (const match of held.matchAll(marks.either)) {
      isNested ||= match[1] === undefined
      depth += match[1] === undefined ? 1 : -1
      if (match[1] !== undefined) close = match
      if (depth === 0) break
    }
    if (close && (depth === 0 || isEnd)) {
      place = 'start'
      isBehind = true
      return { reasoning: close.index, taken: close.index + close[0].length }
    }
    if (isEnd) return { reasoning: held.length, taken: held.length }
    const free = isNested || close ? 0 : held.length - begunMarkLength(held)
    return { reasoning: free, taken: free }
  }

  function readText(isEnd: boolean): ThinkSplit {
    const close = isBehind ? undefined : findLoneClose()
    // Whether a mark is quoted shows behind it.
    const isUndecided =
      close !== undefined &&
      !isEnd &&
      close.index + close[0].length === held.length &&
      isQuoteBefore(given + held.slice(0, close.index))
    if (close && !isUndecided) {
      const isVoid = given !== ''
      const reasoning = given + held.slice(0, close.index)
      held = held.slice(close.index + close[0].length)
      given = ''
      place = 'start'
      isBehind = true
      const rest = read(isEnd)
      return { text: rest.text, reasoning: reasoning + rest.reasoning, ...(isVoid && { isVoid }) }
    }
    if (isOpenInPrompt && !isBehind && !isEnd) return NOTHING
    const free = close ? close.index : isBehind || isEnd ? held.length : held.length - begunMarkLength(held)
    const text = held.slice(0, free)
    held = held.slice(free)
    searched = 0
    if (!isBehind) given += text
    return textOnly(text)
  }

  function findLoneClose(): RegExpExecArray | undefined {
    EITHER.lastIndex = Math.max(0, searched - LONGEST_MARK)
    let match = EITHER.exec(held)
    while (match && (match[1] === undefined || !isLone(given + held.slice(0, match.index), held.slice(EITHER.lastIndex)))) {
      match = EITHER.exec(held)
    }
    searched = held.length
    return match ?? undefined
  }

  return { push, end: () => (held === '' ? NOTHING : read(true)) }
}

/** Whether a closing mark between the two texts ends reasoning: it is not spoken of, in code or in quotes, and no opening mark waits for it. */
function isLone(before: string, after: string): boolean {
  if ((before.match(/^\s*(```|~~~)/gm)?.length ?? 0) % 2 === 1) return false
  const line = before.slice(before.lastIndexOf('\n') + 1)
  if ((line.match(/`/g)?.length ?? 0) % 2 === 1 || (isQuoteBefore(before) && /^["'”’»)]/.test(after))) return false
  let open = 0
  for (const match of before.matchAll(new RegExp(EITHER))) open = Math.max(0, open + (match[1] === undefined ? 1 : -1))
  return open === 0
}

const isQuoteBefore = (before: string): boolean => /["'“‘«(]$/.test(before)

/** Whether a text may become one that begins with a mark. */
function mayBegin(begin: string, isBehind: boolean): boolean {
  const text = begin.replace(/^<\s+/, '<').toLowerCase()
  if ((isBehind ? BEGINNINGS_BEHIND : OPENINGS).some((mark) => mark.startsWith(text))) return true
  return text.length < LONGEST_OPENING_TAG && new RegExp(`^<(?:${NAME})(?:/|\\s[^<>]*)?$`).test(text)
}

const begunMarkLength = (text: string): number => BEGUN_MARK.exec(text)?.[0].length ?? 0
