import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Functions that walk through data one level per call run out of stack at some thousands, and so do databases. */
const MAX_LEVELS = 1_500

/** Throws INPUT_INVALID for JSON with lists and objects in one another beyond what anybody needs. Looks at the text, before anything is made of it. */
export function assertFewLevels(json: string): void {
  let level = 0
  for (let index = 0; index < json.length; index++) {
    const sign = json[index]
    if (sign === '"') index = endOfText(json, index)
    else if (sign === '[' || sign === '{') level++
    else if (sign === ']' || sign === '}') level--
    if (level > MAX_LEVELS) throw new OrchestratorError('INPUT_INVALID', `expected JSON of at most ${MAX_LEVELS} levels`)
  }
}

/** Place of the quote that ends the text which begins at the other one. */
function endOfText(json: string, begin: number): number {
  for (let end = begin; ; ) {
    end = json.indexOf('"', end + 1)
    if (end === -1) return json.length
    let escapes = 0
    while (json[end - 1 - escapes] === '\\') escapes++
    if (escapes % 2 === 0) return end
  }
}
