import { FIXED_SEED } from '../../support/scale.ts'
import { describeRequestStorms } from './request-storms.ts'

describeRequestStorms({ inMemory: 350, onPostgres: 75, raw: 75, seed: FIXED_SEED })
