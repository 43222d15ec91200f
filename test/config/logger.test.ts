import { expect, test } from 'vitest'
import { createLogger } from '../../src/config/logger.ts'

test('a logger receives the lines of its level and above, and none below', () => {
  const lines: string[] = []
  const push = (level: string) => (message: string) => lines.push(`${level} ${message}`)
  const logger = createLogger({ error: push('error'), warn: push('warn'), info: push('info'), debug: push('debug') }, 'warn')
  for (const level of ['error', 'warn', 'info', 'debug'] as const) logger[level](`a ${level}`)
  expect(lines).toEqual(['error a error', 'warn a warn'])
})
