import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { createPolyphony, type Polyphony } from '../../src/polyphony.ts'

/**
 * A Polyphony that reads neither the environment nor a configuration file, so that it is the same on every machine. It is
 * in memory unless the configuration names a database. The caller closes it.
 */
export const openTestPolyphony = (config: PolyphonyConfigInput = {}): Promise<Polyphony> =>
  createPolyphony({ database: 'memory://', ...config }, { env: {}, cwd: '/nonexistent' })
