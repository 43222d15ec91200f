/** Nested levels of JSON that is read. Recursive functions overflow the stack at a few thousand, in databases too. */
export const MAX_JSON_LEVELS = 1_500

/** Whether JSON has more levels than that. Scans the text, before it is parsed. */
export function isTooDeep(json: string): boolean {
  let level = 0
  for (let index = 0; index < json.length; index++) {
    const character = json[index]
    if (character === '"') index = endOfText(json, index)
    else if (character === '[' || character === '{') level++
    else if (character === ']' || character === '}') level--
    if (level > MAX_JSON_LEVELS) return true
  }
  return false
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
