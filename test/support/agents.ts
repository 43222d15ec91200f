import { loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'

/** A configuration that depends on no environment and no file. */
export const configOf = (input: PolyphonyConfigInput): Promise<PolyphonyConfig> =>
  loadConfig(input, { env: {}, cwd: '/nonexistent' })
