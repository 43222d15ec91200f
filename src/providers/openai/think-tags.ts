const OPEN = '<think>'
const CLOSE = '</think>'

export interface ThinkSplit {
  readonly text: string
  readonly reasoning: string
}

/**
 * Parts an answer that begins with `<think>…</think>` (open models on Ollama, vLLM, LM Studio) into reasoning and text, piece by piece.
 * Tags further on belong to the text. `end` gives what was held back because it could have been the beginning of a tag.
 */
export function createThinkSplitter() {
  let place: 'start' | 'inside' | 'behind' | 'text' = 'start'
  let held = ''

  function push(piece: string): ThinkSplit {
    if (place === 'text') return { text: piece, reasoning: '' }
    held += piece
    if (place === 'start') {
      const begin = held.trimStart()
      if (OPEN.startsWith(begin.slice(0, OPEN.length)) && begin.length < OPEN.length) return { text: '', reasoning: '' }
      if (!begin.startsWith(OPEN)) return becomeText(held)
      place = 'inside'
      held = begin.slice(OPEN.length)
    }
    if (place === 'inside') {
      const close = held.indexOf(CLOSE)
      if (close < 0) return releaseReasoning()
      const reasoning = held.slice(0, close)
      place = 'behind'
      held = held.slice(close + CLOSE.length)
      return { text: trimmedStart(), reasoning }
    }
    return { text: trimmedStart(), reasoning: '' }
  }

  /** A tag can be cut in two: its possible beginning waits for the next piece. */
  function releaseReasoning(): ThinkSplit {
    const keep = Math.min(held.length, CLOSE.length - 1)
    const reasoning = held.slice(0, held.length - keep)
    held = held.slice(held.length - keep)
    return { text: '', reasoning }
  }

  function trimmedStart(): string {
    held = held.trimStart()
    return held === '' ? '' : becomeText(held).text
  }

  function becomeText(text: string): ThinkSplit {
    place = 'text'
    held = ''
    return { text, reasoning: '' }
  }

  function end(): ThinkSplit {
    const rest = held
    held = ''
    return place === 'inside' ? { text: '', reasoning: rest } : { text: rest, reasoning: '' }
  }

  return { push, end }
}
