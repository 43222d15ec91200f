const CANONICAL_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Flow ids are UUIDs, stored as such. Postgres refuses a statement over any other text, so such an id must not reach it: no flow has it. */
export const canBeFlowId = (id: string): boolean => CANONICAL_UUID.test(id)
