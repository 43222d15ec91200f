import type { ServiceProviderSettings } from '../../domain/services/service-provider.ts'
import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type HttpProviderSettings, httpProviderSchema } from '../operations/operation-settings.ts'

type ModelAccount = Extract<ServiceProviderSettings, { readonly kind: 'openai-compatible' | 'openai' | 'anthropic' | 'google' }>
type OperationAccount = Extract<ServiceProviderSettings, { readonly kind: 'http' }>

/** How a service answers steps, with checked operations. */
export type ServiceAccount =
  | ModelAccount
  | (Omit<OperationAccount, 'operations'> & { readonly operations: HttpProviderSettings['operations'] })

const operationsSchema = httpProviderSchema.shape.operations

/** The settings of the provider of a service. Throws SERVICE_INVALID for operations that cannot be used. */
export function toServiceAccount({ id, provider }: ServiceDefinition): ServiceAccount | undefined {
  if (provider?.kind !== 'http') return provider
  const read = operationsSchema.safeParse(provider.operations)
  if (read.success) return { ...provider, operations: read.data }
  const problems = read.error.issues.map(({ path, message }) => ({
    path: ['provider', 'operations', ...path].join('.'),
    message,
  }))
  const lines = problems.map(({ path, message }) => `${path}: ${message}`)
  throw new OrchestratorError('SERVICE_INVALID', `service "${id}": ${lines.join('; ')}`, { details: { service: id, problems } })
}
