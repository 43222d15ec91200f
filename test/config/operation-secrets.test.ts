import { expect, test } from 'vitest'
import { operationSecretsOf } from '../../src/config/operations/operation-secrets.ts'
import { httpProviderSchema } from '../../src/config/operations/operation-settings.ts'

test('secrets of operations are header values, and what has the name or the shape of one in query and body', () => {
  const { operations } = httpProviderSchema.parse({
    kind: 'http',
    baseUrl: 'https://shop.example',
    operations: {
      stock: {
        path: '/stock/{sku}',
        headers: {
          'X-Api-Key': 'header-value',
          Authorization: 'Bearer of-the-shop',
          Accept: 'application/json',
          'x-for': 'a-{sku}-tail',
        },
        query: { token: 'in the query', sort: 'createdAt', fields: 'name,price,left', appid: '0a1b2c3d4e5f', limit: 100 },
        body: { deep: { clientSecret: 'in the body' }, note: 'for the customer {sku}' },
      },
    },
  })
  const found = operationSecretsOf(operations).filter(({ length }) => length >= 4)
  expect(found.sort()).toEqual(
    ['-tail', '0a1b2c3d4e5f', 'Bearer of-the-shop', 'header-value', 'in the body', 'in the query', 'of-the-shop'].sort(),
  )
})
