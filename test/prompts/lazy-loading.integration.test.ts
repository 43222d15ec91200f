import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { compileTemplate } from '../../src/prompts/template.ts'

const { cache } = createRequire(import.meta.url)
const isLoaded = (name: string) => Object.keys(cache).some((path) => path.includes(`/node_modules/${name}/`))

test('Liquid loads at the first template that is more than text and plain values, not before', () => {
  compileTemplate('plain text')
  compileTemplate('{{ original }}')
  expect(isLoaded('liquidjs')).toBe(false)
  compileTemplate('{{ original | upcase }}')
  expect(isLoaded('liquidjs')).toBe(true)
})
