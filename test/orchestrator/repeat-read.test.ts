import { expect, test } from 'vitest'
import { CancellationToken } from '../../src/async/cancellation-token.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { repeatRead } from '../../src/orchestrator/repeat-read.ts'

const away = new OrchestratorError('DATABASE_UNAVAILABLE', 'away')

/** A read that fails with each of the errors in turn, then answers. */
function reading(...errors: Error[]) {
  let reads = 0
  const read = async () => {
    const error = errors[reads++]
    if (error) throw error
    return 'answer'
  }
  return { read, count: () => reads }
}

test('a read is repeated until the database answers', async () => {
  const { read, count } = reading(away)
  expect(await repeatRead(read, [new CancellationToken()])).toBe('answer')
  expect(count()).toBe(2)
})

test('the wait for the database ends at once when the flow is cancelled', async () => {
  const token = new CancellationToken()
  const hanging = repeatRead(() => new Promise<never>(() => {}), [undefined, token])
  const waiting = repeatRead(async () => Promise.reject(away), [token])
  const reason = new OrchestratorError('FLOW_CANCELLED', 'enough')
  token.cancel(reason)
  await expect(hanging).rejects.toBe(reason)
  await expect(waiting).rejects.toBe(reason)
})

test.each([
  new OrchestratorError('INTERNAL', 'a mistake'),
  new OrchestratorError('DATABASE_UNAVAILABLE', 'access denied', { retryable: false }),
])('a read that will never succeed is not repeated: %s', async (error) => {
  const { read, count } = reading(error)
  await expect(repeatRead(read, [])).rejects.toBe(error)
  expect(count()).toBe(1)
})
