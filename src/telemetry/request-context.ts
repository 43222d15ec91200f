import { AsyncLocalStorage } from 'node:async_hooks'

/** Ids of the current request and flow. Never a user or a key. */
export interface RequestIds {
  readonly requestId?: string
  readonly flowId?: string
}

/** Ids that are kept across every await (`AsyncLocalStorage`). Log lines and spans written within contain them. */
export interface RequestContext {
  /**
   * Runs `work` with these ids in addition to the current ones, and returns its result. A flow started within keeps
   * them until it ends.
   */
  run<T>(ids: RequestIds, work: () => T): T
  /** The current ids. Undefined outside of `run`. */
  current(): RequestIds | undefined
}

const storage = new AsyncLocalStorage<RequestIds>()

export const requestContext: RequestContext = {
  run: (ids, work) => storage.run({ ...storage.getStore(), ...ids }, work),
  current: () => storage.getStore(),
}
