/**
 * A path addresses one step within a flow: the id of the step; with the number of the item, from 0, for a step that
 * runs once per item (`step[3]`); behind the path of the step that contains it inside a sub-flow (`outer/inner`). A
 * path, an iteration and a sample together address one result. A call of a tool is addressed behind its step
 * (`step@1.2`: the second call of the first turn). Ids of steps hold none of the separators `/`, `[`, `]`, `#` and `@`,
 * so each path has one reading.
 */

/** The step of its definition that a path addresses. Called with every update, so it allocates nothing for an id. */
export function stepIdOf(path: string): string {
  const start = path.lastIndexOf('/') + 1
  const end = path.indexOf('[', start)
  if (end >= 0) return path.slice(start, end)
  return start === 0 ? path : path.slice(start)
}

/** The path of the step to which the path of a call of a tool belongs; any other path unchanged. */
export const stepPathOf = (path: string): string => path.split('@', 1)[0] ?? path
