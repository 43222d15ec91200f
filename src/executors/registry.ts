import type { FlowType } from '../domain/vocabulary.ts'
import { conditionalExecutor } from './conditional.ts'
import { critiqueExecutor } from './critique.ts'
import type { Executor } from './executor.ts'
import { graphExecutor, parallelExecutor } from './graph.ts'
import { refinementExecutor } from './refinement.ts'
import { sequentialExecutor } from './sequential.ts'

// The named exports keep these files in the types of the package: they add the settings of their flow types to
// definitions, and the annotated table below refers to none of them.
export { conditionalExecutor, critiqueExecutor, graphExecutor, parallelExecutor, refinementExecutor, sequentialExecutor }

/** All flow types. To add one, add its line here. */
export const executors: Readonly<Record<FlowType, Executor>> = {
  sequential: sequentialExecutor,
  parallel: parallelExecutor,
  graph: graphExecutor,
  conditional: conditionalExecutor,
  critique: critiqueExecutor,
  refinement: refinementExecutor,
}
