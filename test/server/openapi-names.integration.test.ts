import { expect, test } from 'vitest'
import { runServer } from './running-server.ts'

interface Operation {
  readonly operationId?: string
  readonly responses: Readonly<Record<string, unknown>>
}

test('OpenAPI operations have unique names, plain paths and described errors, and the flow schema appears once', async () => {
  const { send } = await runServer()
  const { text } = await send('GET', '/openapi.json')
  const document: {
    paths: Record<string, Record<string, Operation>>
    components: { schemas: Record<string, { properties?: object }> }
  } = JSON.parse(text)
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, ...operation })),
  )
  for (const { name, operationId, responses } of operations) {
    expect(operationId, name).toMatch(/^[a-z][A-Za-z]+$/)
    expect(Object.keys(responses), name).toEqual(expect.arrayContaining(['4XX', 'default']))
    expect(
      Object.keys(responses).some((status) => status.startsWith('2')),
      name,
    ).toBe(true)
  }
  const ids = operations.map(({ operationId }) => operationId)
  expect(ids.length).toBeGreaterThan(40)
  expect(new Set(ids).size).toBe(ids.length)
  for (const path of Object.keys(document.paths)) expect(path).toMatch(/^(\/[\w-]+|\/\{\w+\})+$/)
  const { schemas } = document.components
  for (const [, reference = ''] of text.matchAll(/"\$ref":"([^"]+)"/g)) {
    if (reference.startsWith('#/components/')) expect(schemas).toHaveProperty(reference.replace('#/components/schemas/', ''))
  }
  for (const name of ['Flow', 'StepResult', 'Thread', 'Message', 'FlowStatusReport', 'FlowResult']) {
    const shape = JSON.stringify(schemas[name]?.properties)
    expect(shape.length, name).toBeGreaterThan(50)
    expect(text.split(shape).length - 1, name).toBe(1)
  }
})

test('the OpenAPI document describes servers, tags and errors as linters and generated clients need them', async () => {
  for (const [publicUrl, url] of [
    [undefined, '/'],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['http://127.0.0.1:8080/', 'http://127.0.0.1:8080'],
  ]) {
    const { server } = await runServer({ server: { publicUrl } })
    expect(server.app.swagger()).toMatchObject({ servers: [{ url }] })
  }
  const { send } = await runServer()
  const { text } = await send('GET', '/openapi.json')
  const document: {
    tags: readonly { readonly name: string; readonly description: string }[]
    paths: Record<string, Record<string, { tags: string[]; description: string; responses: Record<string, { content: object }> }>>
  } = JSON.parse(text)
  const described = document.tags.map(({ name }) => name)
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { tags, description, responses }] of Object.entries(methods)) {
      const name = `${method} ${path}`
      expect(described, name).toEqual(expect.arrayContaining(tags))
      expect(description, name).toMatch(/^(Needs a key with the scope `(?!any)\w+`|Open to everybody)\.$/)
      const [type, schema] = path.startsWith('/v1/')
        ? ['application/json', 'OpenAiError']
        : ['application/problem+json', 'Problem']
      for (const status of ['4XX', 'default']) {
        expect(responses[status]?.content, `${name} ${status}`).toEqual({
          [type]: { schema: { $ref: `#/components/schemas/${schema}` } },
        })
      }
    }
  }
})
