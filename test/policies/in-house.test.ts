import { describe, expect, test } from 'vitest'
import { CONTEXT_KINDS } from '../../src/domain/users/sharing.ts'
import { createSharingRules } from '../../src/policies/shared-context.ts'

const { decideSharing } = createSharingRules({ isInHouse: (id) => id === 'writer-1' })

describe('a service of the operator with inHouse', () => {
  test.each(CONTEXT_KINDS)('may see every %s without a policy, and the decision says why', (kind) => {
    const item = { kind, name: 'p', from: 'openai', madeFrom: [{ kind: 'attachment' as const }] }
    expect(decideSharing(item, 'writer-1', undefined)).toMatchObject({ allowed: true, rule: 'in_house', to: 'writer-1' })
  })

  test('is a writer like any provider: without a policy no other provider gets its output', () => {
    const item = { kind: 'step_output' as const, name: 'draft', from: 'writer-1' }
    expect(decideSharing(item, 'openai', undefined)).toMatchObject({ allowed: false, rule: 'no_policy' })
    expect(decideSharing({ ...item, madeFrom: [{ kind: 'attachment' }] }, 'openai', undefined).allowed).toBe(false)
  })

  test('passes on nothing that the user hides from a provider', () => {
    const policy = {
      userId: 'ada',
      providerKey: 'openai',
      allowCrossProviderContext: true,
      allowConversationHistory: false,
      allowAttachments: false,
    }
    const item = { kind: 'step_output' as const, name: 'draft', from: 'writer-1', madeFrom: [{ kind: 'attachment' as const }] }
    expect(decideSharing(item, 'openai', policy)).toMatchObject({ allowed: false, origin: { kind: 'attachment' } })
  })
})
