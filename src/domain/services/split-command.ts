/**
 * Program and arguments of one line, split at spaces and quotes. No shell reads the line: variables, globs and other
 * signs of shells stay as they are. In double quotes a backslash keeps the next quote or backslash. `undefined` if a
 * quote is not closed.
 */
export function splitCommand(line: string): readonly string[] | undefined {
  const words: string[] = []
  let word = ''
  let isOpen = false
  let quote = ''
  for (let index = 0; index < line.length; index++) {
    const sign = line.charAt(index)
    const next = line.charAt(index + 1)
    if (quote !== '') {
      if (sign === quote) quote = ''
      else if (quote === '"' && sign === '\\' && (next === '"' || next === '\\')) word += line.charAt(++index)
      else word += sign
    } else if (sign === '"' || sign === "'") {
      quote = sign
      isOpen = true
    } else if (/\s/.test(sign)) {
      if (isOpen) words.push(word)
      word = ''
      isOpen = false
    } else {
      word += sign
      isOpen = true
    }
  }
  if (quote !== '') return undefined
  if (isOpen) words.push(word)
  return words
}
