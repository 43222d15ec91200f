import type { ErrorCodeFacts } from './error-code-facts.ts'

/** Errors of services, agents and events. */
export const SERVICE_ERROR_CODES = {
  SERVICE_NOT_FOUND: {
    httpStatus: 404,
    exitCode: 4,
    retryable: false,
    remedy: 'List the services: polyphony services list.',
  },
  SERVICE_EXISTS: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    remedy: 'Use another id, or remove the service that has it.',
  },
  SERVICE_INVALID: {
    httpStatus: 422,
    exitCode: 2,
    retryable: false,
    remedy: 'Correct the service at the place that the message names.',
  },
  SERVICE_LIMIT_REACHED: {
    httpStatus: 409,
    exitCode: 5,
    retryable: true,
    remedy: 'Stop or remove another service, or raise the limit that the message names.',
  },
  SERVICE_NOT_RUNNING: {
    httpStatus: 409,
    exitCode: 27,
    retryable: false,
    retried: false,
    fallsBack: true,
    mayBeBilled: false,
    remedy: 'Start the service: polyphony services start <id>.',
  },
  SERVICE_START_FAILED: {
    httpStatus: 502,
    exitCode: 27,
    retryable: false,
    remedy: 'Correct what the message names; the last lines of its output: polyphony services logs <id>.',
  },
  SERVICE_START_TIMEOUT: {
    httpStatus: 504,
    exitCode: 27,
    retryable: false,
    remedy: 'Read its log, check that its health address is right, or raise startTimeoutMs.',
  },
  SERVICE_GAVE_UP: {
    httpStatus: 503,
    exitCode: 27,
    retryable: false,
    remedy: 'Read its log, mend the cause, and start it again: polyphony services start <id>.',
  },
  SERVICE_UNKILLABLE: {
    httpStatus: 500,
    exitCode: 27,
    retryable: false,
    remedy: 'The system does not end the processes in details.pids: find what they wait for, such as a disk or a network drive.',
  },
  SERVICE_DEPENDENCY_FAILED: {
    httpStatus: 409,
    exitCode: 27,
    retryable: true,
    remedy: 'Start the service that the message names first.',
  },
  SERVICE_PORT_TAKEN: {
    httpStatus: 409,
    exitCode: 27,
    retryable: true,
    remedy: 'End the program that listens on the port, or set port: auto.',
  },
  SERVICE_EXECUTABLE_REFUSED: {
    httpStatus: 403,
    exitCode: 7,
    retryable: false,
    remedy:
      'Write a service file, because programs are never taken from a request, with a program of services.allowExecutables if that is set.',
  },
  SERVICE_ADDRESS_REFUSED: {
    httpStatus: 403,
    exitCode: 7,
    retryable: false,
    remedy: 'Use an address of this machine, or add its origin to services.registration.origins.',
  },
  SERVICE_PLATFORM_UNSUPPORTED: {
    httpStatus: 501,
    exitCode: 27,
    retryable: false,
    remedy: 'Run processes on Linux or macOS, or register the service by its address.',
  },
  SERVICES_OWNED_ELSEWHERE: {
    httpStatus: 409,
    exitCode: 18,
    retryable: true,
    remedy: 'Another process supervises this folder: end it, or set services.dataDir.',
  },
  SERVER_NOT_RUNNING: {
    httpStatus: 503,
    exitCode: 13,
    retryable: true,
    remedy: 'Start the server: polyphony up.',
  },
  AGENT_NOT_FOUND: {
    httpStatus: 422,
    exitCode: 2,
    retryable: false,
    remedy: 'Register the agent, or add it to `agents` in the configuration.',
  },
  AGENT_EXISTS: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    remedy: 'Use another id, or unregister the agent that has it.',
  },
  FUNCTION_EXISTS: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    remedy: 'Use another name, or unregister the function that has it.',
  },
  EVENT_INVALID: {
    httpStatus: 422,
    exitCode: 2,
    retryable: false,
    remedy: 'Correct the field of the event that the message names.',
  },
  EVENT_LOG_BUSY: {
    httpStatus: 503,
    exitCode: 18,
    retryable: true,
    remedy:
      'The database does not keep up with the events: publish again later, or raise events.unstored and events.unstoredBytes.',
    retryAfterSeconds: 5,
  },
} satisfies Record<string, ErrorCodeFacts>
