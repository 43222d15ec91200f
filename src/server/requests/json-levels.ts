import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Recursive functions overflow the stack at a few thousand levels, in databases too. */
const MAX_LEVELS = 1_500

/** Throws INPUT_INVALID for JSON with more nested levels than that. Scans the text, before it is parsed. */
export function assertFewLevels(json: string): void {
  let level = 0
  for (let index = 0; index < json.length; index++) {
    const character = json[index]
    if (character === '"') index = endOfText(json, index)
    else if (character === '[' || character === '{') level++
    else if (character === ']' || character === '}') level--
    if (level > MAX_LEVELS) throw new OrchestratorError('INPUT_INVALID', `expected JSON of at most ${MAX_LEVELS} levels`)
  }
}

/** Index of the quote that ends the string which begins at `begin`. */
function endOfText(json: string, begin: number): number {
  for (let end = begin; ; ) {
    end = json.indexOf('"', end + 1)
    if (end === -1) return json.length
    let escapes = 0
    while (json[end - 1 - escapes] === '\\') escapes++
    if (escapes % 2 === 0) return end
  }
}
