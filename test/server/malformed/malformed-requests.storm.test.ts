import { SEED } from '../../support/scale.ts'
import { describeRequestStorms } from './request-storms.ts'

describeRequestStorms({ inMemory: 7_000, onPostgres: 1_500, raw: 1_500, seed: SEED })
