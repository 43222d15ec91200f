import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const src = fileURLToPath(new URL('../../src/', import.meta.url))
const comment = /\/\*\n \* The way of one step[\s\S]*?\*\//.exec(readFileSync(`${src}polyphony.ts`, 'utf8'))?.[0] ?? ''

test('the stations of a step are numbered from 1 to 12', () => {
  const numbers = [...comment.matchAll(/^ \* +(\d+)\. /gm)].map(([, number]) => Number(number))
  expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
})

test('every file and folder that the stations name exists', () => {
  const paths = comment.match(/\b[a-z]+(\/[a-z-]+)+(\.ts)?/g) ?? []
  expect(paths.length).toBeGreaterThan(20)
  expect(paths.filter((path) => path !== 'src/composition' && !existsSync(src + path))).toEqual([])
})
