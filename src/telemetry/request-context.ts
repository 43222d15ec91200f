import { AsyncLocalStorage } from 'node:async_hooks'

/** Ids of what is being worked on; never a user or a key. */
export interface RequestIds {
  readonly requestId?: string
  readonly flowId?: string
}

/** Ids that follow the work through every await. */
export interface RequestContext {
  /** Runs the work with these ids besides those it already has; gives back what it gives. A flow started within keeps them to its end. */
  run<T>(ids: RequestIds, work: () => T): T
  /** Ids of the work this is called in; nothing outside of any. */
  current(): RequestIds | undefined
}

const storage = new AsyncLocalStorage<RequestIds>()

export const requestContext: RequestContext = {
  run: (ids, work) => storage.run({ ...storage.getStore(), ...ids }, work),
  current: () => storage.getStore(),
}
