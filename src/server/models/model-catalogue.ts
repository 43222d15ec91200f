import { getFlowTemplate, listFlowTemplates } from '../../../templates/index.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { isSameJson } from '../../domain/json-equality.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../server-deps.ts'
import { refusal } from './request-errors.ts'

const PREFIX = 'flow/'
const MAX_NAME = 200

const WITH_TOOLS = ' (tools)'

/**
 * The name of a flow that has the tools of a request besides its own: under the name alone it would replace the
 * definition without them.
 */
export const withToolsName = ({ name, callerTools = [] }: Pick<FlowDefinitionInput, 'name' | 'callerTools'>): string =>
  name.endsWith(WITH_TOOLS) && callerTools.length > 0 ? name : `${name.slice(0, MAX_NAME - WITH_TOOLS.length)}${WITH_TOOLS}`

/** A model as /v1/models lists it. */
export interface ModelFacts {
  readonly id: string
  readonly object: 'model'
  /** Seconds since 1970. */
  readonly created: number
  readonly owned_by: 'polyphony' | 'user'
}

export type ModelCatalogue = ReturnType<typeof createModelCatalogue>

/**
 * Flows by their model names: `flow/<template>`, `flow/<name of a flow that the caller created>`, `flow/<flow id>`.
 */
export function createModelCatalogue({ orchestrator }: Pick<ServerDeps, 'orchestrator'>, startedAt: Date) {
  const templateNames = new Set(listFlowTemplates().map(({ name }) => name))

  async function find(
    modelId: string,
    userId: string,
  ): Promise<{ definition: FlowDefinitionInput; createdAt: Date; isTemplate: boolean } | undefined> {
    const name = modelId.startsWith(PREFIX) ? modelId.slice(PREFIX.length) : ''
    if (name === '' || name.length > MAX_NAME || name.includes('\0')) return undefined
    if (templateNames.has(name)) return { definition: getFlowTemplate(name), createdAt: startedAt, isTemplate: true }
    const saved = await orchestrator.findSavedFlow(userId, name)
    if (saved) return { definition: saved.definition, createdAt: saved.createdAt, isTemplate: false }
    const flow = await findFlow(name, userId)
    if (!flow) return undefined
    return { definition: await withNameOfItsOwn(flow.definition, flow.id, userId), createdAt: flow.createdAt, isTemplate: false }
  }

  async function findFlow(flowId: string, userId: string) {
    try {
      return await orchestrator.getFlow(flowId, userId)
    } catch (error) {
      if (OrchestratorError.is(error) && error.code === 'FLOW_NOT_FOUND') return undefined
      throw error
    }
  }

  /**
   * Every run stores a flow, and a name means the newest flow with it. A run of an older flow by its id gets a name of
   * its own, because it would otherwise replace the newer definition under that name.
   */
  async function withNameOfItsOwn(definition: FlowDefinitionInput, flowId: string, userId: string): Promise<FlowDefinitionInput> {
    const { name } = definition
    const named = await orchestrator.findSavedFlow(userId, name)
    if (!named || isSameJson(named.definition, definition)) return definition
    return { ...definition, name: `${name.slice(0, MAX_NAME - flowId.length - 1)} ${flowId}` }
  }

  return {
    async list(userId: string): Promise<readonly ModelFacts[]> {
      const saved = await orchestrator.listSavedFlows(userId)
      // A flow that its user gave such a name is listed.
      const named = new Set([...templateNames, ...saved.map(({ name }) => name)].map((name) => withToolsName({ name })))
      return [
        ...[...templateNames].map((name) => toFacts(name, startedAt, true)),
        ...saved
          .filter(({ name }) => !templateNames.has(name) && !named.has(name))
          .map(({ name, createdAt }) => toFacts(name, createdAt, false)),
      ]
    },

    /**
     * Rejects with FLOW_NOT_FOUND (`model_not_found`), with the same message for a flow of another user and an unknown
     * one.
     */
    async describe(modelId: string, userId: string): Promise<ModelFacts> {
      const found = await find(modelId, userId)
      if (found) return toFacts(modelId.slice(PREFIX.length), found.createdAt, found.isTemplate)
      throw modelNotFound(modelId)
    },

    /**
     * The definition to run. Rejects as `describe` does. `hasHistory`: the request has messages before the prompt. A
     * template then shares them with its steps, within the user's policies; other flows decide this themselves.
     */
    async getDefinition(modelId: string, userId: string, hasHistory: boolean): Promise<FlowDefinitionInput> {
      const found = await find(modelId, userId)
      if (!found) throw modelNotFound(modelId)
      const { definition, isTemplate } = found
      if (!isTemplate || !hasHistory) return definition
      const contextPolicy = { ...definition.contextPolicy, shareConversationHistory: true, preserveSystemPrompts: true }
      return { ...definition, contextPolicy }
    },
  }
}

const toFacts = (name: string, since: Date, isTemplate: boolean): ModelFacts => ({
  id: `${PREFIX}${name}`,
  object: 'model',
  created: Math.floor(since.getTime() / 1_000),
  owned_by: isTemplate ? 'polyphony' : 'user',
})

const modelNotFound = (modelId: string): OrchestratorError =>
  refusal(
    'model',
    `The model '${modelId.slice(0, MAX_NAME + PREFIX.length)}' does not exist or you do not have access to it. GET /v1/models lists them: flow/<template>, flow/<name of a flow of yours>; flow/<flow id> works as well`,
    'model_not_found',
    'FLOW_NOT_FOUND',
  )
