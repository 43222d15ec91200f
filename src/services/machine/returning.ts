import type { MachineModel } from './machine-model.ts'

/** Whether nothing of the service runs and nothing will by itself. */
export const isAtRest = ({ state }: Pick<MachineModel, 'state'>): boolean => state === 'idle' || state === 'failed'

/** A service that stops in order to start again comes back like one that failed. */
export function returnsByItself(model: Pick<MachineModel, 'state' | 'next'>): boolean {
  const { state, next } = model
  if (state === 'stopping') return next !== 'idle'
  return !isAtRest(model)
}
