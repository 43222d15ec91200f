/** A conversation of a user. */
export interface Thread {
  readonly id: string
  readonly userId: string
  readonly title?: string
  readonly createdAt: Date
}

export interface Attachment {
  readonly name: string
  readonly mediaType: string
  /** Text content; attachments without it (images, audio) are recorded but not sent. */
  readonly text?: string
}

export interface Message {
  readonly id: string
  readonly threadId: string
  readonly role: 'user' | 'assistant' | 'system'
  readonly content: string
  readonly attachments?: readonly Attachment[]
  /** Provider that wrote an assistant message, as far as known: `metadata.provider`. */
  readonly metadata: Readonly<Record<string, unknown>>
  readonly createdAt: Date
}

export const THREAD_RIGHTS = ['read', 'write', 'delete'] as const
export type ThreadRight = (typeof THREAD_RIGHTS)[number]
