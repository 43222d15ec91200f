import type { ProviderSettingsInput } from '../config/provider-settings.ts'

/** What an adapter needs to speak to one account. Read once, when the provider is built; nothing later changes where a key goes. */
export interface AdapterSettings extends Omit<ProviderSettingsInput, 'kind' | 'active'> {
  /** Id as steps name it. */
  readonly id: string
  /** Name for prices: the preset, else the kind. */
  readonly vendor: string
  readonly simulated: boolean
}
