import { execFileSync } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const source = (path: string) => pathToFileURL(`${root}/src/${path}`).href

/** Which of the packages a process has loaded, at each of its `mark()`s. */
function loadedBy(script: string): readonly (readonly string[])[] {
  const program = `
    import { createRequire } from 'node:module'
    const { cache } = createRequire(${JSON.stringify(source('index.ts'))})
    const names = ['@opentelemetry/api', 'prom-client', 'pino']
    const mark = () => console.log(JSON.stringify(names.filter((name) => Object.keys(cache).some((file) => file.includes('/node_modules/' + name + '/')))))
    ${script}`
  const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  })
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

const RUN = `
  const { createPolyphony, createScriptedProvider } = await import(${JSON.stringify(source('index.ts'))})
  const scripted = createScriptedProvider({ replies: () => 'ok' })
  const polyphony = await createPolyphony({ database: 'memory://', providers: { scripted } }, { env: {}, cwd: '/nonexistent' })
  const run = async () => {
    const { id: threadId } = await polyphony.conversations.createThread('u', {})
    const steps = [{ id: 'a', model: 'scripted/m', action: 'generate' }]
    const { id } = await polyphony.orchestrator.createFlow(threadId, 'u', { name: 'n', type: 'sequential', steps })
    await polyphony.orchestrator.executeFlow(id, 'u', { input: 'x' })
  }
  await run()
  mark()`

test('an unobserved application loads neither the OpenTelemetry API nor prom-client nor pino', () => {
  const script = `${RUN}
    await polyphony.telemetry.metrics()
    mark()
    await import(${JSON.stringify(source('telemetry/logs.ts'))})
    mark()`
  const [afterRun, afterMetrics, afterLogs] = loadedBy(script)
  expect(afterRun).toEqual([])
  // prom-client brings the API along.
  expect(afterMetrics).toEqual(['@opentelemetry/api', 'prom-client'])
  expect(afterLogs).toContain('pino')
})

test('the first flow is traced although the tracing module was not loaded before', () => {
  const script = `
    const { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = await import('@opentelemetry/sdk-trace-node')
    ${RUN}
    const exporter = new InMemorySpanExporter()
    new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register()
    await run()
    console.log(JSON.stringify(exporter.getFinishedSpans().map(({ name }) => name)))
    await run()
    console.log(JSON.stringify(exporter.getFinishedSpans().map(({ name }) => name)))`
  const [, first, second] = loadedBy(script)
  expect(first).toEqual(['chat m', 'invoke_workflow n'])
  expect(second).toHaveLength(4)
})
