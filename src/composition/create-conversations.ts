import type { PolyphonyConfig } from '../config/config.ts'
import { createAttachments } from '../conversations/attachments.ts'
import { ConversationService, type ConversationServiceDeps } from '../conversations/conversation-service.ts'
import { FileService } from '../conversations/file-service.ts'
import type { PermissionService } from '../policies/policy.ts'
import type { Store } from '../repositories/repository.ts'

/** Conversations with their files, and the function that stores the attachments of messages and executions. */
export function createConversations(
  config: Pick<PolyphonyConfig, 'files'>,
  store: Store,
  permissions: PermissionService,
  newThreadId?: ConversationServiceDeps['newThreadId'],
) {
  const files = new FileService({ files: store.files, limits: config.files, permissions })
  const attachments = createAttachments(files)
  return {
    files,
    attachments,
    conversations: new ConversationService({
      threads: store.threads,
      flows: store.flows,
      permissions,
      attachments,
      newThreadId,
    }),
  }
}
