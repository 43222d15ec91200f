/** What one error code implies for callers, the command line, the server and the call layers. */
export interface ErrorCodeFacts {
  /** Status of the HTTP response that carries this error. */
  readonly httpStatus: number
  /** Exit code of the command line. 1 is reserved for bugs. */
  readonly exitCode: number
  /** Whether the same request may succeed later without a change. */
  readonly retryable: boolean
  /** One sentence: what the reader can do about it. */
  readonly remedy: string
  /** The remedy at the command line, where it differs from `remedy`. */
  readonly cliRemedy?: string
  /** The remedy for a model that uses the MCP tools, where it differs from `remedy`. */
  readonly toolRemedy?: string
  /** Code of the OpenAI-compatible API, where its clients decide on one; otherwise the code in lower case. */
  readonly openAiCode?: string
  /** Seconds of the `Retry-After` header, where the error itself names no wait. */
  readonly retryAfterSeconds?: number
  /** Whether the same flow can be resumed after this error. Absent: no. */
  readonly resumable?: boolean
  /** Whether a call repeats the request by itself, if the error says that it is retryable. Absent: no. */
  readonly retried?: boolean
  /** Whether a call sends the request to the next fallback. Absent: no. */
  readonly fallsBack?: boolean
  /**
   * Whether the provider may bill for an attempt that failed with this code, although no usage is known. Absent: no.
   */
  readonly mayBeBilled?: boolean
}

/** A row that must state how the call layers handle its code. */
export type CallErrorCodeFacts = ErrorCodeFacts & Required<Pick<ErrorCodeFacts, 'retried' | 'fallsBack' | 'mayBeBilled'>>
