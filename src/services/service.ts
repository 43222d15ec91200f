import type { NewEvent } from '../domain/event.ts'
import type { ServiceType } from '../domain/services/service-definition.ts'
import type { ServiceDefinitionInput } from '../domain/services/service-schema.ts'
import type { ExitReason, ServiceExit, ServiceHealth, ServiceState } from '../domain/services/service-state.ts'
import type { ErrorCode } from '../errors/error-codes.ts'
import type { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { EnforcedLimits, RunUsage } from './service-driver.ts'

/** State of one service, read from memory. */
export interface ServiceReport {
  readonly id: string
  readonly name: string
  readonly type: ServiceType
  readonly driver: 'process' | 'remote' | 'in_process'
  readonly state: ServiceState
  readonly health: ServiceHealth
  /** Since when the service is in its state. */
  readonly since: Date
  /** Failed starts and runs since the last success that lasted; 0 after it. */
  readonly attempt: number
  /** Starts after a failure, since the service was registered. */
  readonly restarts: number
  /** In state `backoff`: when the service is started again. */
  readonly nextStartAt?: Date
  /** Whether an earlier supervisor started the process that runs. */
  readonly adopted: boolean
  /** Present while a process of this machine runs. */
  readonly process?: { readonly pid: number; readonly startedAt: Date; readonly limits: EnforcedLimits } & Partial<RunUsage>
  readonly lastExit?: ServiceExit & { readonly reason: ExitReason }
  readonly lastError?: { readonly code: ErrorCode; readonly message: string }
  /** The last probe of its health. */
  readonly probe?: { readonly at: Date; readonly ms: number; readonly ok: boolean; readonly detail: string }
  /** Calls of flows and of `call` that have not ended. */
  readonly inFlight: number
  readonly endpoint?: string
  /** Present while only another process runs the service and advertises it: `state` and `since` are those it states. */
  readonly elsewhere?: { readonly host: string; readonly ownerId: string; readonly address: string }
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** One line that a service wrote to its output. */
export interface LogLine {
  readonly at?: Date
  /** Valid text without control sequences, at most 64 KiB. */
  readonly text: string
  /** Whether the text is cut; the file holds all of it. */
  readonly cut?: boolean
}

/** Request to a service over `call`: a prompt or messages for `llm` and `agent`, an HTTP request for the others. */
export type ServiceRequest =
  | { readonly prompt: string }
  | { readonly messages: readonly { readonly role: 'system' | 'user' | 'assistant'; readonly content: string }[] }
  | {
      readonly method?: string
      /** Path below the endpoint of the service. */
      readonly path?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: unknown
    }

export interface ServiceAnswer {
  readonly text?: string
  /** HTTP status. */
  readonly status?: number
  readonly body?: unknown
}

/** What a service of this process may use while it runs. */
export interface InProcessContext {
  /** Aborts when the service is to end. */
  readonly signal: AbortSignal
  /** Publishes an event whose subject is the service. */
  publish(type: string, data: unknown, options?: { readonly correlationId?: string }): void
  /** Calls another service, as `Services.call` does. */
  call(id: string, request: ServiceRequest): Promise<ServiceAnswer>
}

/**
 * The code of a service that runs in this process. Errors of a handler end at its own service. A handler that never
 * returns is given up at the limits of the service: its start, stop and probe timeouts.
 */
export interface InProcessService {
  /** The service is ready when the handler has resolved. An error is a failed start, which is repeated. */
  start?(context: InProcessContext): unknown
  /** Releases what the service holds. An error is reported and the service is stopped nevertheless. */
  stop?(): unknown
  /** A probe: `false` or an error mean unhealthy, everything else healthy. Without it the health is `unknown`. */
  health?(signal: AbortSignal): unknown
  /** Answers `call` and messages of other services. */
  onMessage?(message: unknown, context: { readonly signal: AbortSignal }): unknown
}

/** A service as code registers it: a program (`executable`), an address (`endpoint`), or code of this process. */
export type ServiceInput = ServiceDefinitionInput & {
  /** Code of this process; not together with `executable`. */
  readonly handlers?: InProcessService
}

export interface ServiceStartOptions {
  /** Milliseconds after which the promise resolves with the state so far; the start continues. Default: none. */
  readonly waitMs?: number
  /** Ends the wait for the start and not the start itself. */
  readonly signal?: AbortSignal
}

/** What a new reading of the service files has changed, by the ids of the services. */
export interface ServiceReload {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
  /** Files and services that could not be used; the others are. */
  readonly problems: readonly string[]
}

/** All services of one instance: their lives, states and calls. Implemented by createServices. */
export interface Services {
  /** Adds a service in state `idle`. Rejects with SERVICE_EXISTS, SERVICE_INVALID and SERVICE_EXECUTABLE_REFUSED. */
  register(service: ServiceInput): Promise<ServiceReport>
  /**
   * Starts the service and those it depends on; resolves when it runs. Rejects with the reason why it does not:
   * SERVICE_START_FAILED, SERVICE_START_TIMEOUT, SERVICE_GAVE_UP, SERVICE_DEPENDENCY_FAILED, SERVICE_PORT_TAKEN,
   * SERVICE_NOT_RUNNING if it was stopped meanwhile; with SERVICE_LIMIT_REACHED if the service and those it depends on
   * are more than may run at the same time.
   */
  start(id: string, options?: ServiceStartOptions): Promise<ServiceReport>
  /**
   * Resolves when nothing of the service runs. Calls in flight may end within `drainMs`; default: that of the service.
   * Rejects with SERVICE_UNKILLABLE.
   */
  stop(id: string, options?: { readonly drainMs?: number }): Promise<ServiceReport>
  /** Stops and starts the service; resolves when it runs again. Counts as no failure. */
  restart(id: string): Promise<ServiceReport>
  /** Removes a service that is stopped, or a remote one. Rejects with SERVICE_EXISTS while it runs. */
  remove(id: string): Promise<void>
  /** From memory. Throws SERVICE_NOT_FOUND with a suggestion. */
  get(id: string): ServiceReport
  /** In the order of registration. */
  list(options?: { readonly type?: ServiceType; readonly state?: ServiceState }): readonly ServiceReport[]
  /** The last lines that a process wrote, and with `follow` all further ones. Empty for other services. */
  logs(
    id: string,
    options?: { readonly lines?: number; readonly follow?: boolean; readonly signal?: AbortSignal },
  ): AsyncIterable<LogLine>
  /**
   * Sends a request to the `onMessage` handler or the endpoint of a service that runs. Rejects with SERVICE_NOT_FOUND,
   * SERVICE_NOT_RUNNING, PROVIDER_UNAVAILABLE with `retryAfterMs` while it starts or after `callTimeoutMs`, and with
   * its own error. At most `provider.maxConcurrency` calls run at once and the others wait in order; an abort ends that
   * wait.
   */
  call(id: string, request: ServiceRequest, options?: { readonly signal?: AbortSignal }): Promise<ServiceAnswer>
  /** A sign of life of a service; a remote one that was idle runs again. Throws SERVICE_NOT_FOUND. */
  heartbeat(id: string): ServiceReport
  /**
   * Reads the service files and registers the services that are new. Resolves with SERVICE_INVALID, which names all
   * problems of the files, and with the errors of services that could not be registered; no file keeps another one from
   * being used.
   */
  load(): Promise<readonly OrchestratorError[]>
  /**
   * Reads the service files, and starts all services with `start: auto` in the order of their dependencies. One that
   * fails stops no other. Resolves when each runs, has failed its first start, or waits for a slot.
   */
  startAll(): Promise<readonly ServiceReport[]>
  /**
   * Calls the handler for every event of the services, such as `service_state`, until the returned function is called.
   * The error of a handler reaches no service and no other handler.
   */
  onEvent(handler: (event: NewEvent) => unknown): () => void
  /**
   * Reads the service files again: new services start, those of changed files are replaced and run again if they ran,
   * those without a file end. Services that code or requests have registered stay as they are.
   */
  reload(): Promise<ServiceReload>
  /** Id of the service whose process got this token, the id of its run; `undefined` after the run. */
  serviceOfRun(token: string): string | undefined
  /** Programs that start from now on get the address of the server as `POLYPHONY_URL`. */
  announce(serverUrl: string): void
  /**
   * Stops all services, also those with `orphans: adopt`, which live on only if this process ends without it. Safe to
   * call twice.
   */
  close(): Promise<void>
}
