import { AsyncLocalStorage } from 'node:async_hooks'
import type { CallToolResult, Client, Transport } from '@modelcontextprotocol/client'
import { Agent } from 'undici'
import { linkSignal, untilAborted } from '../../async/until-aborted.ts'
import type { McpServerSettings } from '../../config/operations/operation-settings.ts'
import { readVersion } from '../../config/version.ts'
import { withCallFacts } from '../../domain/execution/call-facts.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createPublicLookup, isLiteralHost, type ResolveName } from '../../system/public-addresses.ts'
import { createVendorTransport, type VendorFetch } from '../transport/transport.ts'
import { networkCodeOf } from '../vendor/vendor-error.ts'
import { NO_TIMEOUT_MS } from '../vendor/vendor-http.ts'
import { boundResponse } from './bounded-response.ts'
import { toMcpError } from './mcp-errors.ts'

type Sdk = typeof import('@modelcontextprotocol/client')

/** A connection to one MCP server. */
export interface McpClient {
  readonly client: Client
  readonly sdk: Sdk
  /** Aborted with the error when a message of no call was too long, or the stream broke: the connection has ended. */
  readonly broken: AbortSignal
  close(): Promise<void>
}

export interface McpClientListeners {
  /** Called when the server says that its tools have changed. */
  readonly onToolsChanged: () => void
  /** Called when the connection has ended, at either side. */
  readonly onClosed: () => void
}

/**
 * Connects to a server, over HTTP or as a process, with the newest protocol that both know: the client asks for the
 * revision of 2026-07-28 and falls back to those of 2025. A server that knows only the older transport over HTTP and
 * server-sent events is asked with that. The official client is loaded at first use. Rejects with errors of the client.
 */
export async function connectMcp(
  id: string,
  settings: McpServerSettings,
  listeners: McpClientListeners,
  signal: AbortSignal,
  resolve?: ResolveName,
): Promise<McpClient> {
  const sdk = await import('@modelcontextprotocol/client')
  const open = async (transport: Transport): Promise<Client> => {
    const client = new sdk.Client(
      { name: 'polyphony', version: readVersion() },
      {
        versionNegotiation: { mode: 'auto', probe: { timeoutMs: Math.min(settings.connectTimeoutMs, PROBE_TIMEOUT_MS) } },
        // Schemas of a server are foreign data, whose patterns could block this process; results are checked here.
        jsonSchemaValidator: { getValidator: () => acceptAnything },
        listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => listeners.onToolsChanged() } },
      },
    )
    // Errors of single messages reach their callers; without a listener the client would drop the others as well.
    client.onerror = () => undefined
    try {
      await client.connect(transport, { signal, timeout: settings.connectTimeoutMs })
      // A connection that fails closes its client as well, and another transport may be tried then.
      client.onclose = () => listeners.onClosed()
      return client
    } catch (error) {
      await client.close().catch(() => undefined)
      throw error
    }
  }
  if ('command' in settings) {
    const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio')
    const { command, args, env, cwd } = settings
    // Longer messages end the connection.
    const maxBufferSize = Math.max(toMaxMessage(settings), MAX_LIST_BYTES)
    const started = { command, args, env, stderr: 'ignore', maxBufferSize, ...(cwd && { cwd }) } as const
    const client = await open(new StdioClientTransport(started))
    return { client, sdk, broken: new AbortController().signal, close: () => client.close() }
  }
  const url = new URL(settings.url)
  const broken = new AbortController()
  const { fetch, release } = createFetch(id, settings, url, broken, resolve)
  const requestInit = { headers: { ...settings.headers } }
  try {
    const client = await open(new sdk.StreamableHTTPClientTransport(url, { fetch, requestInit })).catch((error) => {
      if (!isOtherTransport(sdk, error)) throw error
      return open(new sdk.SSEClientTransport(url, { fetch, requestInit })).then((connected) => {
        // The client would open the stream again, for a session that the server does not know, and its calls would wait
        // for answers that never come.
        connected.onerror = (failure) => {
          if (failure instanceof sdk.SseError) broken.abort(toMcpError(id, failure))
        }
        return connected
      })
    })
    const close = () => client.close().finally(release)
    broken.signal.addEventListener('abort', () => {
      listeners.onClosed()
      close().catch(() => undefined)
    })
    return { client, sdk, broken: broken.signal, close }
  } catch (error) {
    await release()
    throw error
  }
}

/** The call of a tool for which a request is made. */
const ownCall = new AsyncLocalStorage<AbortController>()

/** Calls a tool. An answer that is too long ends this call alone: the others of the connection may have other users. */
export async function callTool(
  { client, broken }: Pick<McpClient, 'client' | 'broken'>,
  params: Parameters<Client['callTool']>[0],
  signal: AbortSignal,
): Promise<CallToolResult> {
  const call = new AbortController()
  const unlink = linkSignal(signal, call)
  try {
    const called = ownCall.run(call, () => client.callTool(params, { signal: call.signal, timeout: NO_TIMEOUT_MS }))
    return await untilAborted(untilAborted(called, call.signal), broken)
  } finally {
    unlink()
  }
}

/** A server over HTTP that is silent for this long is down; one that is a process is taken for an older one. */
const PROBE_TIMEOUT_MS = 10_000

const acceptAnything = (input: unknown) => ({ valid: true, data: Object(input), errorMessage: undefined }) as const

/** Whether the server knows no streamable HTTP: it refuses the method or the path (MCP 2025-11-25, transports). */
const isOtherTransport = ({ SdkHttpError }: Sdk, error: unknown): boolean =>
  error instanceof SdkHttpError && (error.status === 400 || error.status === 404 || error.status === 405)

function createFetch(
  id: string,
  { allowPrivateAddresses, maxBytes }: Extract<McpServerSettings, { readonly url: string }>,
  server: URL,
  broken: AbortController,
  resolve: ResolveName | undefined,
): { readonly fetch: VendorFetch; readonly release: () => Promise<void> } {
  const isChecked = !allowPrivateAddresses && !isLiteralHost(server.hostname)
  const dispatcher = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    ...(isChecked && { connect: { lookup: createPublicLookup(resolve) } }),
  })
  const transport = createVendorTransport({ id, dispatcher }, process.env)
  return {
    fetch: async (input, init) => {
      const call = ownCall.getStore()
      const url = new URL(input instanceof Request ? input.url : input)
      // The headers of the configuration belong to the server that it names.
      if (url.origin !== server.origin) throw refused(id, 'a request to another origin')
      const response = await transport.fetch(input, init).catch((error: unknown) => {
        // Told here, because the client wraps some errors in ways that lose their cause.
        throw networkCodeOf(error) === 'ADDRESS_NOT_PUBLIC' ? refused(id, 'one outside the public Internet') : error
      })
      if (response.status >= 300 && response.status < 400) throw refused(id, 'a redirect')
      const isCall = typeof init?.body === 'string' && init.body.includes(CALL_METHOD)
      const maxMessage = toMaxMessage({ maxBytes })
      return boundResponse(response, isCall ? maxMessage : Math.max(maxMessage, MAX_LIST_BYTES), () => {
        const error = tooLarge(id, maxBytes)
        const controller = call ?? broken
        controller.abort(error)
        return error
      })
    },
    release: () => dispatcher.destroy(),
  }
}

const CALL_METHOD = '"method":"tools/call"'
/** Bytes of one list of tools, and of one message where the request that it answers is not known. */
const MAX_LIST_BYTES = 10_000_000

/**
 * Bytes of a message with a result of `maxBytes`: files are sent as base64, texts with escapes, and a structured result
 * is repeated as text.
 */
const toMaxMessage = ({ maxBytes }: Pick<McpServerSettings, 'maxBytes'>): number => 4 * maxBytes + 65_536

const tooLarge = (id: string, maxBytes: number): OrchestratorError =>
  withCallFacts(
    new OrchestratorError(
      'OUTPUT_INVALID',
      `MCP server "${id}": expected an answer of at most ${maxBytes} bytes (maxBytes), found more`,
      {
        details: { provider: id, maxBytes },
      },
    ),
    { usage: NO_TOKENS, generated: false },
  )

const refused = (id: string, found: string): OrchestratorError =>
  new OrchestratorError('PROVIDER_REJECTED', `MCP server "${id}": expected answers of the configured address, found ${found}`, {
    details: { provider: id },
  })
