import { expect, test } from 'vitest'
import { ERROR_CODES } from '../../src/errors/error-codes.ts'
import { FLOW_ERROR_CODES } from '../../src/errors/flow-error-codes.ts'
import { PROVIDER_ERROR_CODES } from '../../src/errors/provider-error-codes.ts'
import { SERVICE_ERROR_CODES } from '../../src/errors/service-error-codes.ts'
import { SYSTEM_ERROR_CODES } from '../../src/errors/system-error-codes.ts'

const rows = Object.entries(ERROR_CODES)

test('no error code is in two parts of the table', () => {
  const codes = [FLOW_ERROR_CODES, PROVIDER_ERROR_CODES, SERVICE_ERROR_CODES, SYSTEM_ERROR_CODES].flatMap((part) =>
    Object.keys(part),
  )
  expect(codes.toSorted()).toEqual(rows.map(([code]) => code).toSorted())
})

test('every error code has the status of an HTTP error, an exit code below 126 and remedies that are sentences', () => {
  expect(rows.length).toBeGreaterThan(40)
  for (const [code, { httpStatus, exitCode, remedy, cliRemedy = remedy, toolRemedy = remedy }] of rows) {
    expect(httpStatus, code).toBeGreaterThanOrEqual(400)
    expect(httpStatus, code).toBeLessThan(600)
    expect(exitCode, code).toBeGreaterThan(0)
    expect(exitCode, code).toBeLessThan(126)
    for (const sentence of [remedy, cliRemedy, toolRemedy]) expect(sentence, code).toMatch(/^[A-Z/`].*\.$/)
  }
})

test('only INTERNAL, a bug in Polyphony, has the exit code 1', () => {
  expect(rows.filter(([, { exitCode }]) => exitCode === 1).map(([code]) => code)).toEqual(['INTERNAL'])
})

test('a call repeats and resends only errors of providers and operations, and repeats only retryable ones', () => {
  const handled = rows.filter(([, { retried, fallsBack, mayBeBilled }]) => retried || fallsBack || mayBeBilled)
  // A failure of an idempotent operation says itself that it is retryable; a service stands behind a provider.
  const others = handled.map(([code]) => code).filter((code) => !Object.hasOwn(PROVIDER_ERROR_CODES, code))
  expect(others.toSorted()).toEqual(['SERVICE_NOT_RUNNING', 'STEP_FAILED'])
  expect(rows.filter(([, { retried, retryable }]) => retried && !retryable).map(([code]) => code)).toEqual(['STEP_FAILED'])
})

test('an error with a wait for the Retry-After header is retryable', () => {
  expect(rows.filter(([, { retryAfterSeconds, retryable }]) => retryAfterSeconds !== undefined && !retryable)).toEqual([])
})
