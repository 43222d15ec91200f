import { expect, test } from 'vitest'
import { ENTITIES } from '../../../src/repositories/postgres/entities.ts'
import { TABLES_LEFT_OUT, TRANSFERRED_TABLES } from '../../../src/repositories/postgres/transfer/transferred-tables.ts'

test('every table is either exported or left out with its reason', () => {
  const exported = TRANSFERRED_TABLES.map(({ table }) => table)
  const known = [...exported, ...Object.keys(TABLES_LEFT_OUT)]
  expect([...known].sort()).toEqual(ENTITIES.map(({ options }) => options.tableName).sort())
  for (const reason of Object.values(TABLES_LEFT_OUT)) expect(reason.split(' ').length).toBeGreaterThan(3)
})

test('every kind is one word that exists once, and every table has a key', () => {
  const kinds = TRANSFERRED_TABLES.map(({ kind }) => kind)
  expect([...new Set(kinds)]).toEqual(kinds)
  for (const { kind, columns } of TRANSFERRED_TABLES) {
    expect(kind).toMatch(/^[a-zA-Z]+$/)
    expect(columns.filter(({ isKey }) => isKey).length, kind).toBeGreaterThan(0)
  }
})

test('rows of a flow or of the rights on a thread are imported with their new parent only, which comes before them', () => {
  for (const [index, { kind, table, columns, parent }] of TRANSFERRED_TABLES.entries()) {
    if (columns.some(({ name }) => name === 'flow_id'))
      expect(parent, kind).toEqual({ table: 'polyphony_flows', column: 'flow_id' })
    if (parent === undefined) continue
    const before = TRANSFERRED_TABLES.slice(0, index).map((other) => other.table)
    expect(before, table).toContain(parent.table)
  }
})

test('columns that are omitted or replaced exist', () => {
  for (const { table, omitted = {}, replaced = {} } of TRANSFERRED_TABLES) {
    const entity = ENTITIES.find(({ options }) => options.tableName === table)
    const names = Object.values(entity?.options.columns ?? {}).map((column) => column?.name)
    expect(names, table).toEqual(expect.arrayContaining([...Object.keys(omitted), ...Object.keys(replaced)]))
  }
})

test('no secret of an API key is exported', () => {
  const keys = TRANSFERRED_TABLES.find(({ table }) => table === 'polyphony_api_keys')
  expect(keys?.columns.map(({ name }) => name)).not.toContain('hash')
})
