import { createLocalEngine } from '../../src/engines/local.ts'
import { createRunRegistry } from '../../src/orchestrator/runs/run-registry.ts'
import { describeEngine } from '../contracts/engine.ts'

describeEngine({ name: 'local', create: () => createLocalEngine(createRunRegistry()) })
