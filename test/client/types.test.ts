import { expectTypeOf, test } from 'vitest'
import { WebSocket } from 'ws'
import type * as z from 'zod'
import type {
  ClientErrorCode,
  Execution,
  Flow,
  FlowDefinitionInput,
  FlowUpdate,
  NewMessage,
  PolyphonyClient,
  PolyphonyError,
  PolyphonySocket,
  SocketConstructor,
} from '../../src/client/client.ts'
import { createClient } from '../../src/client/client.ts'
import type { UsageGroup } from '../../src/domain/execution/usage-report.ts'
import type { SCOPES } from '../../src/domain/users/api-key.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import type * as catalogue from '../../src/protocol/catalogue.ts'
import type * as flows from '../../src/protocol/flow.ts'
import type * as sharing from '../../src/protocol/sharing.ts'
import type * as threads from '../../src/protocol/thread.ts'
import type { flowUpdate } from '../../src/protocol/update.ts'

type Wire<Schema extends z.ZodType> = Promise<z.input<Schema>>
const client = createClient({ baseUrl: 'http://127.0.0.1' })

test('the type of a result is that of the schema of its route', () => {
  expectTypeOf<PolyphonyClient>().toEqualTypeOf(client)
  expectTypeOf(client.me.get).returns.toEqualTypeOf<Wire<typeof catalogue.me>>()
  expectTypeOf(client.threads.create).returns.toEqualTypeOf<Wire<typeof threads.thread>>()
  expectTypeOf(client.threads.list).returns.toEqualTypeOf<Wire<typeof threads.threadPage>>()
  expectTypeOf(client.threads.get).returns.toEqualTypeOf<Wire<typeof threads.thread>>()
  expectTypeOf(client.threads.delete).returns.toEqualTypeOf<Promise<void>>()
  expectTypeOf(client.messages.add).returns.toEqualTypeOf<Wire<typeof threads.message>>()
  expectTypeOf(client.messages.list).returns.toEqualTypeOf<Wire<typeof threads.messagePage>>()
  expectTypeOf(client.permissions.list).returns.toEqualTypeOf<Wire<typeof threads.threadPermissions>>()
  expectTypeOf(client.permissions.set).returns.toEqualTypeOf<Wire<typeof threads.threadPermission>>()
  expectTypeOf(client.dataSharing.list).returns.toEqualTypeOf<Wire<typeof sharing.sharingPolicies>>()
  expectTypeOf(client.dataSharing.get).returns.toEqualTypeOf<Wire<typeof sharing.sharingPolicy>>()
  expectTypeOf(client.dataSharing.set).returns.toEqualTypeOf<Wire<typeof sharing.sharingPolicy>>()
  expectTypeOf(client.flows.create).returns.toEqualTypeOf<Wire<typeof flows.flow>>()
  expectTypeOf(client.flows.list).returns.toEqualTypeOf<Wire<typeof flows.flowPage>>()
  expectTypeOf(client.flows.get).returns.toEqualTypeOf<Wire<typeof flows.flow>>()
  expectTypeOf(client.flows.check).returns.toEqualTypeOf<Wire<typeof flows.flowCheck>>()
  expectTypeOf(client.flows.execute).returns.toEqualTypeOf<Wire<typeof flows.flowStatusReport>>()
  expectTypeOf(client.flows.executeAndWait).returns.toEqualTypeOf<Wire<typeof flows.flow>>()
  expectTypeOf(client.flows.executeStep).returns.toEqualTypeOf<Wire<typeof flows.stepResult>>()
  expectTypeOf(client.flows.cancel).returns.toEqualTypeOf<Wire<typeof flows.flowStatusReport>>()
  expectTypeOf(client.flows.rerun).returns.toEqualTypeOf<Wire<typeof flows.flow>>()
  expectTypeOf(client.flows.status).returns.toEqualTypeOf<Wire<typeof flows.flowStatusReport>>()
  expectTypeOf(client.templates.list).returns.toEqualTypeOf<Wire<typeof catalogue.templates>>()
  expectTypeOf(client.templates.get).returns.toEqualTypeOf<Wire<typeof catalogue.template>>()
  expectTypeOf(client.providers.list).returns.toEqualTypeOf<Wire<typeof catalogue.providers>>()
  expectTypeOf(client.providers.get).returns.toEqualTypeOf<Wire<typeof catalogue.provider>>()
  expectTypeOf(client.providers.health).returns.toEqualTypeOf<Wire<typeof catalogue.providerHealth>>()
  expectTypeOf(client.usage.get).returns.toEqualTypeOf<Wire<typeof catalogue.usageReport>>()
  expectTypeOf<PolyphonySocket['execute']>().returns.toEqualTypeOf<Wire<typeof flows.flowStatusReport>>()
  expectTypeOf<PolyphonySocket['cancel']>().returns.toEqualTypeOf<Wire<typeof flows.flowStatusReport>>()
})

test('the types of updates in loops come from the same schemas', () => {
  type Item<Loop> = Loop extends AsyncIterable<infer Each> ? Each : never
  expectTypeOf<Item<ReturnType<typeof client.threads.all>>>().toEqualTypeOf<z.input<typeof threads.thread>>()
  expectTypeOf<Item<ReturnType<typeof client.flows.all>>>().toEqualTypeOf<z.input<typeof flows.flowSummary>>()
  expectTypeOf<Item<ReturnType<typeof client.flows.follow>>>().toEqualTypeOf<z.input<typeof flowUpdate>>()
  expectTypeOf<Item<ReturnType<PolyphonySocket['follow']>>>().toEqualTypeOf<FlowUpdate>()
  expectTypeOf<Extract<FlowUpdate, { type: 'step_progress' }>['data']['delta']>().toEqualTypeOf<string>()
})

test('instants are typed as text', () => {
  expectTypeOf<Flow['createdAt']>().toEqualTypeOf<string>()
  expectTypeOf<FlowUpdate['timestamp']>().toEqualTypeOf<string>()
})

test('the types of bodies are those of the schemas, read-only or not', () => {
  expectTypeOf<z.input<typeof threads.newMessage>>().toExtend<NewMessage>()
  expectTypeOf<
    Readonly<{ role: 'user'; content: string; attachments: readonly { name: string; mediaType: string }[] }>
  >().toExtend<NewMessage>()
  expectTypeOf<z.input<typeof flows.execution>>().toExtend<Execution>()
  expectTypeOf<Parameters<typeof client.flows.list>[0]>().toEqualTypeOf<z.output<typeof flows.flowListQuery> | undefined>()
  expectTypeOf<NonNullable<NonNullable<Parameters<typeof client.usage.get>[0]>['groupBy']>>().toEqualTypeOf<
    readonly UsageGroup[]
  >()
  expectTypeOf<Awaited<ReturnType<typeof client.me.get>>['scopes'][number]>().toEqualTypeOf<(typeof SCOPES)[number]>()
  expectTypeOf<{ threadId: string; template: string }>().toExtend<Parameters<typeof client.flows.create>[0]>()
  expectTypeOf<{ threadId: string }>().not.toExtend<Parameters<typeof client.flows.create>[0]>()
  expectTypeOf<{ threadId: string; template: string; definition: FlowDefinitionInput }>().not.toExtend<
    Parameters<typeof client.flows.create>[0]
  >()
})

test('a definition is typed with the settings of its flow type, and a template returns one', () => {
  const definition = {
    name: 'n',
    type: 'refinement',
    steps: [{ id: 'a', model: 'openai/m', action: 'generate' }],
    refinement: { maxIterations: 2 },
  } as const
  expectTypeOf(definition).toExtend<FlowDefinitionInput>()
  expectTypeOf<{ name: string; type: 'spiral'; steps: [] }>().not.toExtend<FlowDefinitionInput>()
  expectTypeOf<Awaited<ReturnType<typeof client.templates.instantiate>>['definition']>().toEqualTypeOf<FlowDefinitionInput>()
})

test('error codes are typed by name, and unknown ones are allowed', () => {
  expectTypeOf<ErrorCode | ClientErrorCode>().toExtend<PolyphonyError['code']>()
  expectTypeOf<string>().toExtend<PolyphonyError['code']>()
})

test('the WebSocket of ws is accepted by the type of the client', () => {
  expectTypeOf(WebSocket).toExtend<SocketConstructor>()
})
