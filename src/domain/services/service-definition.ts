export const SERVICE_TYPES = ['llm', 'agent', 'voice', 'graphics', 'network', 'education'] as const
export type ServiceType = (typeof SERVICE_TYPES)[number]

/** A program of this machine, as its driver starts it. All placeholders are replaced. */
export interface ServiceProcess {
  readonly id: string
  /** Program and arguments; no shell reads them. */
  readonly command: readonly [program: string, ...args: string[]]
  /** Absolute path. */
  readonly cwd: string
  /** The complete environment of the process, without the marker of its run. */
  readonly environment: Readonly<Record<string, string>>
  readonly stopSignal: NodeJS.Signals
  /** Milliseconds until a process that was killed counts as unkillable. */
  readonly killTimeoutMs: number
  /** What happens to the process if its supervisor dies: the next one ends or adopts it. */
  readonly orphans: 'stop' | 'adopt'
  readonly limits: {
    /** Bytes of resident memory of the whole process tree. */
    readonly memoryBytes?: number
    /** Percent of one core. */
    readonly cpuPercent?: number
  }
  /** TCP port that the process listens on. */
  readonly port?: number
  /** Hash of the definition: a process of another definition is never adopted. */
  readonly definitionHash: string
}
