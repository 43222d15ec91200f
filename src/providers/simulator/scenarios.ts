import type { SimulatedScenario } from './scenario.ts'
import { analysisScenario } from './scenarios/analysis.ts'
import { comparisonScenario } from './scenarios/comparison.ts'
import { consensusScenario } from './scenarios/consensus.ts'
import { critiqueScenario } from './scenarios/critique.ts'
import { developmentScenario } from './scenarios/development.ts'
import { qaScenario } from './scenarios/qa.ts'
import { refinementScenario } from './scenarios/refinement.ts'
import { researchScenario } from './scenarios/research.ts'
import { routingScenario } from './scenarios/routing.ts'

/** One worked example per template. All texts are invented and say nothing about what a real model would write. */
export const SIMULATED_SCENARIOS: readonly SimulatedScenario[] = [
  critiqueScenario,
  comparisonScenario,
  refinementScenario,
  analysisScenario,
  routingScenario,
  consensusScenario,
  qaScenario,
  researchScenario,
  developmentScenario,
]
