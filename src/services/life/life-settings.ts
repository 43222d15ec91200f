import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import type { MachineSettings } from '../machine/machine-model.ts'
import type { RestartPolicy } from '../machine/restart-policy.ts'
import type { ProbeTiming } from './health.ts'

/** Settings for services that set none; milliseconds. Implemented by the configuration `services`. */
export interface ServiceDefaults {
  readonly health: ProbeTiming & {
    readonly enabled: boolean
    readonly failureThreshold: number
    readonly successThreshold: number
    readonly restartAfterMs: number
  }
  readonly startTimeoutMs: number
  readonly minUptimeMs: number
  readonly restart: RestartPolicy
  readonly stop: { readonly timeoutMs: number; readonly killTimeoutMs: number; readonly drainMs: number }
}

/** What the life of one service needs of its definition. */
export interface LifeSettings {
  readonly machine: MachineSettings
  readonly probe: ProbeTiming
}

/** Settings of a service, those of the configuration where it has none. */
export function toLifeSettings(service: ServiceDefinition, defaults: ServiceDefaults, hasProbe: boolean): LifeSettings {
  const health = { ...defaults.health, ...withoutAbsent(service.health ?? {}) }
  const stop = { ...defaults.stop, ...withoutAbsent(service.stop) }
  const restart = { ...defaults.restart, ...withoutAbsent(service.restart) }
  const isProcess = service.executable !== undefined
  const { intervalMs, timeoutMs, startIntervalMs, retryIntervalMs, failureThreshold, successThreshold, restartAfterMs } = health
  return {
    probe: { intervalMs, timeoutMs, startIntervalMs, retryIntervalMs },
    machine: {
      startTimeoutMs: service.startTimeoutMs ?? defaults.startTimeoutMs,
      minUptimeMs: service.minUptimeMs ?? defaults.minUptimeMs,
      ready: service.ready ? 'line' : hasProbe ? 'probe' : isProcess ? 'uptime' : 'started',
      hasProbe,
      drainMs: stop.drainMs,
      stopTimeoutMs: stop.timeoutMs,
      killTimeoutMs: stop.killTimeoutMs,
      failureThreshold,
      successThreshold,
      restartAfterMs,
      restart: { ...restart, maxDelayMs: Math.max(restart.maxDelayMs, service.restart.delayMs ?? 0) },
      successExitCodes: service.successExitCodes,
    },
  }
}

type Present<Values> = { [Key in keyof Values]?: Exclude<Values[Key], undefined> }

/** An absent setting must not hide its default. */
function withoutAbsent<Values extends object>(values: Values): Present<Values>
function withoutAbsent(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}
