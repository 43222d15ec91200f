import type { Target } from '../flow-definition.ts'

/** The provider of a target whose model is the name of a pool: `pool/writers`. */
export const POOL_PROVIDER = 'pool'

/** Whether a pool answers, and not a provider itself. */
export const isPool = ({ provider }: Target): boolean => provider === POOL_PROVIDER

/** The configured pools. Implemented by `createPoolDirectory`. */
export interface PoolDirectory {
  /** The providers and models that may answer: the members of a pool, else the target itself. None: no such pool. */
  membersOf(target: Target): readonly Target[]
  /**
   * Throws PROVIDER_NOT_CONFIGURED, with a suggestion, if the target names a provider or pool that does not exist, and
   * PROVIDER_INACTIVE if it is not active; a pool is usable if one of its members is.
   */
  assertUsable(target: Target): void
}

/** Whether two targets name the same model of the same provider. */
export const isSameTarget = (a: Target, b: Target): boolean => a.provider === b.provider && a.model === b.model

/** The target through which a provider and model was asked: itself, or a pool that has it; `undefined` without one. */
export const targetOf = <Given extends Target>(
  { membersOf }: Pick<PoolDirectory, 'membersOf'>,
  targets: readonly Given[],
  asked: Target,
): Given | undefined => targets.find((target) => membersOf(target).some((member) => isSameTarget(member, asked)))
