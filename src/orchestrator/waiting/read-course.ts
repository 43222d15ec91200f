import type { Store } from '../../repositories/repository.ts'
import { type FlowCourse, PauseControl } from './pause-control.ts'

const UPDATES_PER_READ = 500

const NO_COURSE: FlowCourse = { wasPaused: false, activeMs: 0 }

/** The control of a new execution, with the waits of a flow that has run before; those whose time is over, ended. */
export async function openPauseControl(store: Store, flowId: string, isFresh: boolean): Promise<PauseControl> {
  if (isFresh) return new PauseControl([], NO_COURSE)
  await store.waits.expire(flowId)
  const waits = await store.waits.of(flowId)
  return new PauseControl(waits, waits.length === 0 ? NO_COURSE : await readCourse(store, flowId))
}

/** Updates are read page by page and not kept: together they hold every chunk of text that was streamed. */
async function readCourse({ updates }: Store, flowId: string): Promise<FlowCourse> {
  let startedMs: number | undefined
  let activeMs = 0
  let wasPaused = false
  for (let lastSeq = 0; ; ) {
    const page = await updates.read(flowId, lastSeq, UPDATES_PER_READ)
    for (const { type, timestamp } of page) {
      if (type === 'flow_start') {
        startedMs = timestamp.getTime()
        if (!wasPaused) activeMs = 0
        wasPaused = false
      }
      if (type !== 'flow_paused') continue
      activeMs += timestamp.getTime() - (startedMs ?? timestamp.getTime())
      wasPaused = true
    }
    lastSeq = page.at(-1)?.seq ?? lastSeq
    if (page.length < UPDATES_PER_READ) return { wasPaused, activeMs }
  }
}
