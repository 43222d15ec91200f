import type { FlowType } from '../domain/vocabulary.ts'
import { conditionalExecutor } from './conditional.ts'
import { critiqueExecutor } from './critique.ts'
import type { Executor } from './executor.ts'
import { graphExecutor, parallelExecutor } from './graph.ts'
import { refinementExecutor } from './refinement.ts'
import { sequentialExecutor } from './sequential.ts'

// By name too: in the types of the package the annotated table leads to none of these files, which give definitions their settings.
export { conditionalExecutor, critiqueExecutor, graphExecutor, parallelExecutor, refinementExecutor, sequentialExecutor }

/** Every flow type there is. A new one adds its line here. */
export const executors: Readonly<Record<FlowType, Executor>> = {
  sequential: sequentialExecutor,
  parallel: parallelExecutor,
  graph: graphExecutor,
  conditional: conditionalExecutor,
  critique: critiqueExecutor,
  refinement: refinementExecutor,
}
