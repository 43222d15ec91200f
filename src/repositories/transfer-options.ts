export interface ExportOptions {
  /** Version of this program, for the header of the file. */
  readonly program: string
  /** Whether to export although other processes run flows, which the destination then runs as well. */
  readonly includeRunning: boolean
  /** Bytes of a file in one line; others are in further lines. Default: 4 MiB. */
  readonly maxBytesPerLine?: number
}

/** What an import did with the rows of one kind. */
export interface ImportCount {
  readonly imported: number
  /** Rows that exist already, or that belong to a flow or thread that does. */
  readonly skipped: number
}
