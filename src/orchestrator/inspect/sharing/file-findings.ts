import type { FlowDefinition, FlowStep } from '../../../domain/definition/flow-definition.ts'
import { toOrigin } from '../../../domain/users/origins.ts'
import type { SharingDecision } from '../../../domain/users/sharing.ts'
import type { SharingItem } from '../../../policies/policy.ts'
import { toolProvidersOf } from '../../tools/tool-set.ts'
import type { FlowFinding } from '../flow-finding.ts'
import { createFileReaders } from '../step-sources.ts'
import type { PoolSharingDeps } from './pool-sharing.ts'

const FILES = 'attachments'

/**
 * Everybody who may receive files of the prompt, or what a model writes from them into the arguments of a tool, and may
 * not see them: providers of the steps that get the files, their fallbacks, all members of pools, and tools. Unlike
 * texts that a step requires, files are only withheld at run time, so the answer would be about files that its writer
 * has not seen. Tools that get no arguments of the model anyway are left out: their calls are refused with or without
 * files.
 */
export async function fileFindings(
  { executors, pools, dataSharing, decideSharing }: PoolSharingDeps,
  definition: FlowDefinition,
  userId: string,
): Promise<readonly FlowFinding[]> {
  const readsFiles = createFileReaders(definition, executors[definition.type] ?? {})
  const { provenance } = definition.contextPolicy
  const decide = async (item: SharingItem, to: string): Promise<SharingDecision> =>
    decideSharing(item, to, await dataSharing.get(userId, to), provenance)
  const found: FlowFinding[] = []
  for (const [index, step] of definition.steps.entries()) {
    if (!readsFiles(step)) continue
    const models = new Set([step, ...step.fallbacks].flatMap((target) => pools.membersOf(target)).map(({ provider }) => provider))
    for (const to of models) {
      const decision = await decide({ kind: 'attachment', name: FILES }, to)
      if (!decision.allowed) found.push(finding(step, { path: `steps[${index}]`, decision, userId, verb: 'gets' }))
    }
    for (const to of toolProvidersOf(step)) {
      for (const from of models) {
        const args = { kind: 'step_output', name: step.id, from } as const
        const decision = await decide({ ...args, madeFrom: [toOrigin('attachment')] }, to)
        if (decision.allowed || !(await decide(args, to)).allowed) continue
        found.push(finding(step, { path: `steps[${index}].tools`, decision, userId, verb: 'calls tools about' }))
        break
      }
    }
  }
  return found
}

interface Denied {
  readonly path: string
  readonly decision: SharingDecision
  readonly userId: string
  readonly verb: string
}

const finding = ({ id: stepId }: FlowStep, { path, decision: { to, rule }, userId, verb }: Denied): FlowFinding => ({
  code: 'DATA_SHARING_DENIED',
  path,
  message: `step "${stepId}" ${verb} the files of the prompt, which ${to} may not see (allowAttachments)`,
  details: { stepId, piece: FILES, kind: 'attachment', to, rule, userId, allow: ['allowAttachments'] },
})
