import { describe, expect, test } from 'vitest'
import { executors } from '../../src/executors/registry.ts'
import { TEMPLATE_LIMITS } from '../../src/prompts/liquid.ts'
import { createTestParser } from '../support/definitions.ts'
import { codeIn, readMarkdown, tableOf } from '../support/markdown.ts'

const page = readMarkdown('docs/definitions.md')
const schema = JSON.stringify(createTestParser({ flowTypes: Object.values(executors) }).jsonSchema())

describe('the page about definitions', () => {
  test('names fields of steps and settings that the JSON Schema has', () => {
    const rows = [...tableOf(page, 'Field of a step'), ...tableOf(page, '`parallel`')]
    const names = rows.map(([cell = '']) => /^\w+/.exec(codeIn(cell)[0] ?? '')?.[0])
    expect(names).toContain('keepReasoning')
    expect(names).toHaveLength(9)
    for (const name of names) expect(schema).toContain(`"${name}":{`)
  })

  test('states the limits of templates as they are', () => {
    const stated = tableOf(page, 'Limit').map(([, cell = '']) => Number(cell.replaceAll(',', '')))
    const { sourceLength, marks, markLength, codeLength, nodes, memory, outputLength } = TEMPLATE_LIMITS
    expect(stated).toEqual([sourceLength, marks, markLength, codeLength, nodes, memory, outputLength])
  })
})
