/** One process of this machine, as the kernel describes it. */
export interface ProcessEntry {
  readonly pid: number
  readonly parent: number
  readonly group: number
  /** Boot and start time: together with the pid they identify a process. */
  readonly started: string
  /** Whether the process has exited and its parent has not collected its status yet. */
  readonly ended: boolean
  readonly residentBytes: number
  /** Processor time in milliseconds since the start of the process. */
  readonly cpuMs: number
  /** Value of the marker variable in the environment of the process. */
  readonly marker?: string
  /** Whether the environment is empty, as it is for an instant while a process becomes another program. */
  readonly isUnmarked?: boolean
}
