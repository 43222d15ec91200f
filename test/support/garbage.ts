import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/** Frees what nothing refers to any more; in several rounds, as finalizers free more. */
export async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 4; round++) {
    if (typeof collect === 'function') collect()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
