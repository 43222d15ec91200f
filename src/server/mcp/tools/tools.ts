import { checkFlow, describeTemplate, getUsage, listProviders, listTemplates } from './catalogue-tools.ts'
import { awaitFlow, cancelFlow, createFlowTool, getFlow, listFlows, rerunFlow, startFlow } from './flow-tools.ts'
import type { Tool } from './tool.ts'
import { answerWaiting, listWaiting } from './waiting-tools.ts'

/** Every tool, in the order in which models read them. */
export const TOOLS: readonly Tool[] = [
  listTemplates,
  describeTemplate,
  listProviders,
  checkFlow,
  startFlow,
  awaitFlow,
  getFlow,
  listFlows,
  createFlowTool,
  cancelFlow,
  rerunFlow,
  listWaiting,
  answerWaiting,
  getUsage,
]
