import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** The error of a hosted tool that the vendor does not have. */
export function toUnknownHostedTool(provider: string, name: string, supported: readonly string[]): OrchestratorError {
  const known = supported.map((tool) => `hosted/${tool}`).join(', ')
  const message = `Expected a hosted tool of provider "${provider}": ${known === '' ? 'it has none' : known}; found "hosted/${name}"`
  return new OrchestratorError('PROVIDER_REJECTED', message, { details: { provider, hostedTool: name, supported } })
}
