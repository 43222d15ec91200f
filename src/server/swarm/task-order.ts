import { findSuggestion, quoted, withSuggestion } from '../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { NewWorkflow, NewWorkflowTask } from '../../protocol/workflow.ts'

/** The tasks whose results each task receives, by `agent_id`; every task comes after those that it needs. */
export type TaskInputs = ReadonlyMap<string, readonly string[]>

/**
 * Decides which results each task receives. Throws INPUT_INVALID, with the position of the task and the path of a
 * cycle, for names that are used twice, unknown dependencies, cycles, and dependencies that the type cannot keep.
 */
export function orderTasks({ workflow_type: type, tasks }: NewWorkflow): TaskInputs {
  const indexes = new Map<string, number>()
  for (const [index, { agent_id: agentId }] of tasks.entries()) {
    const first = indexes.get(agentId)
    if (first !== undefined) {
      const found = `${quoted(agentId)}, which tasks[${first}] has already`
      throw refused(`tasks[${index}].agent_id`, `expected a name that no other task of the workflow has, found ${found}`)
    }
    indexes.set(agentId, index)
  }
  const inputs = new Map<string, readonly string[]>()
  for (const [index, task] of tasks.entries()) {
    assertKnown(task, index, indexes)
    if (type === 'parallel' && task.depends_on.length > 0) {
      throw refused(
        `tasks[${index}].depends_on`,
        'expected no dependencies in a parallel workflow; workflow_type "graph" runs tasks after others',
      )
    }
    const previous = type === 'sequential' ? tasks[index - 1] : undefined
    inputs.set(task.agent_id, [...new Set([...(previous ? [previous.agent_id] : []), ...task.depends_on])])
  }
  return new Map(inOrder(tasks, inputs).map((agentId) => [agentId, inputs.get(agentId) ?? []]))
}

function assertKnown({ depends_on: dependsOn }: NewWorkflowTask, index: number, indexes: ReadonlyMap<string, number>): void {
  for (const [position, name] of dependsOn.entries()) {
    if (indexes.has(name)) continue
    const message = `expected the agent_id of a task of this workflow, found ${quoted(name)}`
    throw refused(`tasks[${index}].depends_on[${position}]`, withSuggestion(message, findSuggestion(name, indexes.keys())))
  }
}

/** Visits each task after those that it needs, without recursion: a chain may be as long as the workflow. */
function inOrder(tasks: readonly NewWorkflowTask[], inputs: TaskInputs): readonly string[] {
  const done = new Set<string>()
  for (const { agent_id: start } of tasks) {
    const path: { readonly name: string; next: number }[] = done.has(start) ? [] : [{ name: start, next: 0 }]
    const open = new Set(path.map(({ name }) => name))
    for (let at = path.at(-1); at; at = path.at(-1)) {
      const name = inputs.get(at.name)?.[at.next++]
      if (name === undefined) {
        done.add(at.name)
        open.delete(at.name)
        path.pop()
      } else if (open.has(name)) {
        const names = path.map((entry) => entry.name)
        const cycle = [...names.slice(names.indexOf(name)), name]
        const index = tasks.findIndex((task) => task.agent_id === at.name)
        throw refused(`tasks[${index}].depends_on`, `expected no cycle, found ${cycle.map(quoted).join(' → ')}`, { cycle })
      } else if (!done.has(name)) {
        open.add(name)
        path.push({ name, next: 0 })
      }
    }
  }
  return [...done]
}

/** A workflow that is refused before anything is stored or runs. `at`: the position in the request. */
export const refused = (at: string, message: string, details: Readonly<Record<string, unknown>> = {}): OrchestratorError =>
  new OrchestratorError('INPUT_INVALID', `${at}: ${message}`, {
    details: { ...details, problems: [{ pointer: toPointer(at), detail: message }] },
  })

const toPointer = (at: string): string => `#/${at.replaceAll('[', '/').replaceAll(']', '').replaceAll('.', '/')}`
