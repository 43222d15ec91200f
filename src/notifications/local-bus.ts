import type { NotificationBus } from './notification.ts'

/** The bus of a process that opens its store alone: no other process can receive a message or send one. */
export const createLocalBus = (): NotificationBus => ({
  publish() {},
  subscribe: () => () => {},
  hasSubscribersElsewhere: () => false,
  mayHaveSubscribersElsewhere: () => false,
  isConnected: () => true,
  close: async () => {},
})
