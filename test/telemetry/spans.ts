import { type Attributes, context, SpanStatusCode, trace } from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'

export interface SpanReader {
  readonly provider: NodeTracerProvider
  /** Finished spans, in the order of their ends. */
  all(): readonly ReadableSpan[]
  calls(): readonly ReadableSpan[]
  flows(): readonly ReadableSpan[]
  /** Everything that left: names, attributes, events, states. */
  text(): string
  reset(): void
  close(): Promise<void>
}

/** Registers an SDK that keeps its spans in memory; without a context manager it knows of no active span. */
export function registerSdk(options: { readonly contextManager?: null } = {}): SpanReader {
  const exporter = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  provider.register(options)
  const all = () => exporter.getFinishedSpans()
  const ofOperation = (name: string) => all().filter(({ attributes }) => attributes['gen_ai.operation.name'] === name)
  return {
    provider,
    all,
    calls: () => ofOperation('chat'),
    flows: () => ofOperation('invoke_workflow'),
    text: () => JSON.stringify(all().map(({ name, attributes, events, status }) => ({ name, attributes, events, status }))),
    reset: () => exporter.reset(),
    async close() {
      await provider.shutdown()
      trace.disable()
      context.disable()
    },
  }
}

/** The only one of a list; fails where there are more or none. */
export function only<Item>(items: readonly Item[]): Item {
  const [item] = items
  if (item === undefined || items.length > 1) throw new Error(`expected one, found ${items.length}`)
  return item
}

export const isError = ({ status }: ReadableSpan): boolean => status.code === SpanStatusCode.ERROR

export const eventAttributes = ({ events }: ReadableSpan): readonly Attributes[] =>
  events.map(({ attributes = {} }) => attributes)
