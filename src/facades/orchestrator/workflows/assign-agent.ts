import type { Agent } from '../agent.ts'
import type { AgentBalancer, AgentTicket } from '../agent-balancer.ts'
import type { FlowPart } from './flow-parts.ts'
import type { Assignment } from './workflow-definition.ts'

/** Models that are asked one after another if that of the agent fails. */
const MAX_FALLBACKS = 10

export interface AssignAgentDeps {
  readonly balancer: AgentBalancer
  /** By id of the step in the flow; receives the ticket of an agent that the strategy chose. */
  readonly tickets: Map<string, AgentTicket>
  /** `provider/model` of an agent, or of steps without one. Throws CONFIG_INVALID if no model is known. */
  modelOf(agent: Agent | undefined): string
}

/**
 * The agent that answers a step of a flow: its assignee, whose ticket begins with the step, because only then is it
 * known that the assignment names this agent; else one that the strategy chooses now. Throws AGENT_NOT_FOUND.
 */
export function assignAgent({ flowId, step, assignee }: FlowPart, deps: AssignAgentDeps): Assignment {
  const { balancer, tickets } = deps
  if (assignee !== undefined) {
    const team = balancer.agents().filter(({ id }) => step.assignees?.includes(id))
    const others = team.filter(({ id }) => id !== assignee)
    return toAssignment(
      team.find(({ id }) => id === assignee),
      others,
      deps,
    )
  }
  const ticket = balancer.assign(step)
  if (ticket) tickets.set(flowId, ticket)
  return toAssignment(ticket?.agent, ticket?.others ?? [], deps)
}

function toAssignment(agent: Agent | undefined, others: readonly Agent[], { modelOf }: AssignAgentDeps): Assignment {
  const model = modelOf(agent)
  const fallbacks = new Set(others.map(modelOf).filter((other) => other !== model))
  return { model, fallbacks: [...fallbacks].slice(0, MAX_FALLBACKS), ...(agent && { agent }) }
}
