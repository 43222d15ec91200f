import { expect, test } from 'vitest'
import { runServer } from './running-server.ts'

type Json = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null
const member = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined)

/** Every object below a value. */
function* objectsIn(value: unknown): Generator<Json> {
  if (!isObject(value)) return
  yield value
  for (const inner of Object.values(value)) yield* objectsIn(inner)
}

const operationsOf = (document: Json) =>
  Object.entries(member(document, 'paths') ?? {}).flatMap(([path, methods]) =>
    Object.entries(isObject(methods) ? methods : {}).map(([method, operation]) => ({
      name: `${method} ${path}`,
      path,
      operation,
    })),
  )

test('the OpenAPI document describes request, responses and errors of every endpoint', async () => {
  const { send } = await runServer()
  const { json: document } = await send('GET', '/openapi.json')
  expect(document.openapi).toMatch(/^3\.1\./)
  const operations = operationsOf(document)
  expect(operations.length).toBeGreaterThan(25)
  for (const { name, path, operation } of operations) {
    expect(member(operation, 'summary'), name).toMatch(/^[A-Z]/)
    expect(member(operation, 'tags'), name).toHaveLength(1)
    const parameters = member(operation, 'parameters')
    const inPath = Array.isArray(parameters) ? parameters.filter((parameter) => member(parameter, 'in') === 'path') : []
    expect(inPath.map((parameter) => member(parameter, 'name')).toSorted(), name).toEqual(
      [...path.matchAll(/\{([^}]+)\}/g)].map(([, parameter]) => parameter).toSorted(),
    )
    // Clients of OpenAI read errors in another form.
    const error = path.startsWith('/v1/') ? '#/components/schemas/OpenAiError' : '#/components/schemas/Problem'
    expect(JSON.stringify(member(member(operation, 'responses'), 'default')), name).toContain(error)
  }
})

test('every reference of the OpenAPI document resolves, and the definition schema is complete', async () => {
  const { send, polyphony } = await runServer()
  const { json: document } = await send('GET', '/openapi.json')
  const schemas = member(member(document, 'components'), 'schemas')
  const references = [...objectsIn(document)].flatMap(({ $ref }) => (typeof $ref === 'string' ? [$ref] : []))
  expect(references).toContain('#/components/schemas/FlowDefinition')
  for (const reference of references) expect(schemas).toHaveProperty(reference.replace('#/components/schemas/', ''))
  expect(member(schemas, 'FlowDefinition')).toMatchObject({ required: polyphony.definitionSchema().required })
})

test('the documentation pages load nothing from other servers', async () => {
  const { send } = await runServer()
  const page = await send('GET', '/docs')
  expect(page.headers.get('content-type')).toContain('text/html')
  expect(page.text).not.toMatch(/(src|href)="(https?:)?\/\//)
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'")
})
