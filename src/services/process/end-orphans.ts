import { createProcessDriver, type ProcessDriverOptions } from '../drivers/process.ts'
import type { LeftRun } from '../process-driver.ts'

/**
 * Ends everything that a killed supervisor of the folder left behind. Rejects with SERVICES_OWNED_ELSEWHERE while a
 * supervisor lives.
 */
export async function endOrphans(options: ProcessDriverOptions): Promise<readonly LeftRun[]> {
  const driver = createProcessDriver(options)
  try {
    return await driver.adopt(() => undefined)
  } finally {
    await driver.close()
  }
}
