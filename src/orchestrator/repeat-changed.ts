import { hasFlowChanged } from '../domain/execution/flow-errors.ts'

/** Repeats a start, which reads its flow first, for as long as another process runs the flow between the two. */
export async function repeatWhileChanged<Result>(start: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await start()
    } catch (error) {
      if (!hasFlowChanged(error)) throw error
    }
  }
}
