import { untilAborted } from '../../async/until-aborted.ts'
import { serverSecretsOf } from '../../config/operations/operation-secrets.ts'
import type { McpServerSettings } from '../../config/operations/operation-settings.ts'
import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { ModelResponse } from '../../domain/execution/model-call.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'
import type { CallOrigin } from '../../domain/tools/call-origin.ts'
import type { ResolveName } from '../../system/public-addresses.ts'
import { MIN_SECRET } from '../adapter-settings.ts'
import { operationProblem, unknownOperation } from '../operation-errors.ts'
import type { Provider } from '../provider.ts'
import { withoutSecrets } from '../vendor/vendor-error.ts'
import { callTool, connectMcp, type McpClient } from './mcp-client.ts'
import { isUnknownSession, toMcpError, toolFailed } from './mcp-errors.ts'
import { type McpOperation, toMcpOperation } from './mcp-operations.ts'
import { readMcpResult, toMcpAnswer } from './mcp-result.ts'

interface Connection extends McpClient {
  /** The tools of the server; listed at first use, and again after the server said that they changed. */
  tools?: Promise<ReadonlyMap<string, McpOperation>>
}

/** Maximum tools of one server that are kept, so that a server cannot fill the memory. */
const MAX_TOOLS = 2_000

/**
 * A provider whose operations are the tools of one MCP server. It connects at first use, and again after the connection
 * ended. A call is sent once, unless the server says that it does not know the session. `resolve` resolves names of
 * hosts; default: the resolver of the system.
 */
export function createMcpProvider(id: string, settings: McpServerSettings, resolve?: ResolveName): Provider {
  let connecting: Promise<Connection> | undefined
  const closing = new AbortController()
  const secrets = serverSecretsOf(settings).filter(({ length }) => length >= MIN_SECRET)

  function connect(): Promise<Connection> {
    if (connecting) return connecting
    const opening = open(() => {
      // A newer connection is kept.
      if (connecting === opening) connecting = undefined
    }).catch((error: unknown) => {
      if (connecting === opening) connecting = undefined
      throw toMcpError(id, error)
    })
    connecting = opening
    return opening
  }

  async function open(onClosed: () => void): Promise<Connection> {
    closing.signal.throwIfAborted()
    let connection: Connection | undefined
    const opened = await connectMcp(
      id,
      settings,
      {
        onToolsChanged() {
          if (connection) connection.tools = undefined
        },
        onClosed,
      },
      closing.signal,
      resolve,
    )
    connection = { ...opened }
    return connection
  }

  function toolsOf(connection: Connection): Promise<ReadonlyMap<string, McpOperation>> {
    connection.tools ??= list(connection).catch((error: unknown) => {
      connection.tools = undefined
      throw toMcpError(id, error)
    })
    return connection.tools
  }

  async function list({ client, broken }: Connection): Promise<ReadonlyMap<string, McpOperation>> {
    // The client reads all pages, and refuses a list that does not end.
    const { tools } = await untilAborted(client.listTools(undefined, { timeout: settings.connectTimeoutMs }), broken)
    return new Map(tools.slice(0, MAX_TOOLS).map((tool) => [tool.name, toMcpOperation(tool, settings)]))
  }

  async function call(
    tool: string,
    given: Readonly<Record<string, unknown>>,
    origin: CallOrigin,
    signal: AbortSignal,
  ): Promise<ModelResponse> {
    const connection = await connect()
    const tools = await toolsOf(connection)
    const operation = tools.get(tool)
    if (!operation) throw unknownOperation(id, tool, tools.keys(), false)
    signal.throwIfAborted()
    // The key lets a server recognise a repeated call; the protocol has no field of its own for it.
    const _meta = { 'polyphony/idempotencyKey': origin.idempotencyKey }
    const result = await callTool(connection, { name: tool, arguments: { ...given }, _meta }, signal)
    const read = readMcpResult(result)
    if (read.isError) throw toolFailed(id, tool, withoutSecrets(read.text, secrets), operation.idempotent)
    const bytes = Buffer.byteLength(read.text) + (read.files ?? []).reduce((sum, { data }) => sum + data.byteLength, 0)
    if (bytes > settings.maxBytes) throw operationProblem(id, tool, `expected at most ${settings.maxBytes} bytes, found ${bytes}`)
    const problems = result.structuredContent === undefined ? [] : operation.checkResult(result.structuredContent)
    if (problems.length > 0) throw operationProblem(id, tool, problems.join('; '))
    return toMcpAnswer(tool, read)
  }

  async function callAgain(...given: Parameters<typeof call>): Promise<ModelResponse> {
    const used = connecting
    try {
      return await call(...given)
    } catch (error) {
      const [, , , signal] = given
      if (signal.aborted) throw signal.reason
      if (!isUnknownSession(error)) throw toMcpError(id, error)
      // The server was started again: the request was refused before it ran.
      if (connecting === used) await drop()
      return await call(...given).catch((again: unknown) => {
        throw signal.aborted ? signal.reason : toMcpError(id, again)
      })
    }
  }

  async function drop(): Promise<void> {
    const open = connecting
    connecting = undefined
    await (await open?.catch(() => undefined))?.close().catch(() => undefined)
  }

  return {
    id,
    kind: 'mcp',
    vendor: 'mcp',
    simulated: false,
    async operations(signal) {
      const listed = connect().then(toolsOf)
      return [...(await (signal ? untilAborted(listed, signal) : listed)).values()]
    },
    async generate({ model, arguments: given }, { signal, origin }) {
      signal.throwIfAborted()
      if (!given || !origin) throw unknownOperation(id, model, [], true)
      withCallFacts(signal, { usage: NO_TOKENS, generated: false })
      return await untilAborted(callAgain(model, given, origin, signal), signal)
    },
    async ping(signal) {
      await untilAborted(connect().then(toolsOf), signal)
    },
    async close() {
      closing.abort()
      await drop()
    },
  }
}
