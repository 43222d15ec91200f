/**
 * Version of the meaning of a flow's rows. It must be raised when that meaning changes so that a process of an earlier
 * version would run the flow wrongly: such a process then leaves the flow alone. A claim raises the version of the flow.
 * 2: results are addressed by path, calls have intents, and flows can pause.
 */
export const FLOW_SCHEMA_VERSION = 2
