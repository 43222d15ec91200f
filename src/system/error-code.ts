/** Whether an error of Node carries one of these codes, such as ENOENT. */
export function isErrorCode(error: unknown, ...codes: readonly string[]): boolean {
  if (typeof error !== 'object' || error === null || !('code' in error)) return false
  return typeof error.code === 'string' && codes.includes(error.code)
}
