import { Orchestra, OrchestratorError } from 'polyphony'
import { expect, test } from 'vitest'

test.each([{ maxConcurrentServices: 0 }, { retryAttempts: -1 }, { retryAttempts: 1_000_001 }])(
  '%j is refused with the name of the option',
  (options) => {
    const [name = ''] = Object.keys(options)
    expect(() => new Orchestra(options)).toThrow(OrchestratorError)
    expect(() => new Orchestra(options)).toThrow(`Orchestra: ${name}: expected at `)
  },
)
