/** What callers, the command line and the server need to know about one error code. */
export interface ErrorCodeFacts {
  /** Status of the HTTP answer that carries this error. */
  readonly httpStatus: number
  /** Exit code of the command line. 1 is kept for bugs. */
  readonly exitCode: number
  /** Whether the same request may succeed later without a change. */
  readonly retryable: boolean
  /** One sentence: what the reader can do about it. */
  readonly remedy: string
}

const facts = (httpStatus: number, exitCode: number, retryable: boolean, remedy: string): ErrorCodeFacts => ({
  httpStatus,
  exitCode,
  retryable,
  remedy,
})

/** Every code a caller can meet. The README table is compared with this one by a test. */
export const ERROR_CODES = {
  FLOW_INVALID: facts(422, 2, false, 'Correct the definition at the paths that `details.problems` names.'),
  FLOW_INTERRUPTED: facts(
    409,
    20,
    true,
    'The process that ran the flow died: execute the flow again, recorded steps are not paid twice.',
  ),
  FLOW_NOT_FOUND: facts(404, 4, false, 'Check the flow id, and that you may read its thread.'),
  FLOW_INPUT_MISSING: facts(422, 2, false, 'Give `input` to executeFlow or the definition, or add a user message to the thread.'),
  FLOW_ALREADY_RUNNING: facts(409, 5, true, 'Follow the running flow with streamFlow, or cancel it first.'),
  FLOW_ALREADY_COMPLETED: facts(409, 5, false, 'Use rerunFlow for another run.'),
  FLOW_RUNNING: facts(409, 5, true, 'Cancel the flow before deleting it.'),
  FLOW_CANCELLED: facts(409, 21, false, 'Execute the flow again to resume it; recorded steps are not paid twice.'),
  FLOW_TIMEOUT: facts(504, 22, false, 'Raise maxExecutionTime or timeout.flow and execute the flow again.'),
  FLOW_NOT_REBUILDABLE: facts(
    409,
    6,
    false,
    'Call registerFlow with the definition of the same name and version in this process.',
  ),
  NO_BRANCH_MATCHED: facts(
    422,
    23,
    false,
    'Give one step of the branch group `otherwise: true`, or the flow a step without a condition.',
  ),
  STEP_NOT_FOUND: facts(404, 4, false, 'Use a step id of the definition.'),
  STEP_TIMEOUT: facts(504, 22, false, "Raise the step's timeout and execute the flow again."),
  STEP_FAILED: facts(500, 24, false, 'Read details.cause, mend the step and execute the flow again.'),
  TEMPLATE_NOT_FOUND: facts(404, 4, false, 'List the templates with listFlowTemplates() or `polyphony templates`.'),
  THREAD_NOT_FOUND: facts(404, 4, false, 'Check the thread id, and that you may read it.'),
  PERMISSION_DENIED: facts(403, 7, false, 'Ask the creator of the thread for the right that `details.right` names.'),
  DATA_SHARING_DENIED: facts(403, 8, false, 'Allow it with dataSharing.set for the user and provider that `details` names.'),
  LIMIT_EXCEEDED: facts(402, 9, false, 'Execute the flow again with higher `limits`; everything done so far is kept.'),
  PROVIDER_NOT_CONFIGURED: facts(422, 10, false, 'Configure the provider: set its key in the environment or in `providers`.'),
  PROVIDER_NOT_FOUND: facts(404, 4, false, 'Use the id of a configured provider: GET /api/v1/providers lists them.'),
  PROVIDER_INACTIVE: facts(409, 10, false, 'Activate the provider, or choose another one in the step.'),
  PROVIDER_AUTH: facts(502, 11, false, 'Check the API key of the provider.'),
  PROVIDER_RATE_LIMITED: facts(429, 12, true, 'Wait, or lower requestsPerMinute and maxConcurrency of the provider.'),
  PROVIDER_QUOTA_EXHAUSTED: facts(402, 12, false, 'Add credit to the provider account or choose another provider.'),
  PROVIDER_UNAVAILABLE: facts(503, 13, true, 'Try again later, or give the step fallbacks.'),
  PROVIDER_REJECTED: facts(502, 14, false, 'Read the message of the provider; the request itself must change.'),
  PROVIDER_BAD_REPLY: facts(502, 15, true, 'Try again; if it stays, the base URL may not speak the expected protocol.'),
  PROVIDER_STREAM_CUT: facts(502, 15, true, 'The answer ended before its end mark: execute the flow again.'),
  CONTENT_FILTERED: facts(422, 16, false, 'The provider refused the content: change the prompt or the model.'),
  OUTPUT_INVALID: facts(
    422,
    17,
    false,
    "The answer was cut, or does not fit the step's outputSchema: raise settings.maxTokens, clarify the prompt or relax the schema.",
  ),
  DATABASE_LOCKED: facts(503, 18, true, 'Another process uses this embedded database: end it, or use Postgres.'),
  DATABASE_UNAVAILABLE: facts(503, 18, true, 'Check DATABASE_URL, that the server runs, and that the disk is not full.'),
  CONFIG_INVALID: facts(500, 3, false, 'Correct the setting that the message names.'),
  INPUT_INVALID: facts(422, 2, false, 'Correct the argument that the message names.'),
  UNAUTHENTICATED: facts(
    401,
    7,
    false,
    'Send `Authorization: Bearer <key>` with a key of `polyphony keys create` or a token of the issuer.',
  ),
  KEY_NOT_FOUND: facts(404, 4, false, 'See what there is: polyphony keys list.'),
  HOST_REFUSED: facts(421, 7, false, 'Use an address of the server, or add the host name to server.allowedHosts.'),
  ORIGIN_REFUSED: facts(403, 7, false, 'Open the page from the server itself, or add its origin to server.corsOrigins.'),
  RATE_LIMITED: facts(429, 12, true, 'Wait for the seconds of the Retry-After header.'),
  ROUTE_NOT_FOUND: facts(404, 4, false, 'See /docs for the addresses and methods there are.'),
  METHOD_NOT_ALLOWED: facts(405, 4, false, 'Use a method of the Allow header; /docs lists what each does.'),
  REQUEST_MALFORMED: facts(400, 2, false, 'Correct the form of the request: JSON in UTF-8, over HTTP/1.1.'),
  REQUEST_TOO_LARGE: facts(413, 2, false, 'Send less at once, or raise server.bodyLimitBytes.'),
  MEDIA_TYPE_UNSUPPORTED: facts(415, 2, false, 'Send JSON in UTF-8, not compressed, with `Content-Type: application/json`.'),
  REQUEST_IN_PROGRESS: facts(
    409,
    5,
    true,
    'The first request with this Idempotency-Key is still being answered: ask again a little later.',
  ),
  IDEMPOTENCY_KEY_REUSED: facts(422, 2, false, 'Use a new Idempotency-Key: this one belongs to another request.'),
  SERVER_CLOSING: facts(503, 13, true, 'The server is shutting down: ask again in a moment.'),
  INTERNAL: facts(500, 1, false, 'This is a bug in Polyphony: please report it with the stack trace.'),
} as const satisfies Record<string, ErrorCodeFacts>

export type ErrorCode = keyof typeof ERROR_CODES
