/** A stream is not remembered under an Idempotency-Key: it cannot be sent again. */
export const isStream = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'stream' in body && body.stream === true
