import { expect, test } from 'vitest'
import { flowStepSchema } from '../../src/domain/definition/flow-definition.ts'
import { stepIdOf } from '../../src/domain/execution/step-path.ts'

test.each([
  ['draft', 'draft'],
  ['draft-2_b', 'draft-2_b'],
  ['draft[0]', 'draft'],
  ['outer/inner', 'inner'],
  ['outer[3]/inner', 'inner'],
  ['outer/middle[1]/inner[12]', 'inner'],
])('the path "%s" addresses a run of step "%s"', (path, stepId) => {
  expect(stepIdOf(path)).toBe(stepId)
})

test('the id of a step holds none of the separators of paths', () => {
  const ids = [...'/[]#. '].flatMap((separator) => [`a${separator}b`, `a${separator}`, `${separator}a`])
  const isId = (id: string) => flowStepSchema.shape.id.safeParse(id).success
  expect(ids.filter(isId)).toEqual([])
  expect(isId('a-b_1')).toBe(true)
})
