/** The step and user for which a request is made, for functions, HTTP operations and MCP tools. */
export interface CallOrigin {
  readonly userId: string
  readonly flowId: string
  /** Address of the step within the flow. */
  readonly stepId: string
  /** The same for the same call of the same step, in every process and after a crash. */
  readonly idempotencyKey: string
  /** The metadata that the caller gave for the flow. */
  readonly metadata: Readonly<Record<string, unknown>>
}
