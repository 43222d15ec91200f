// Writes numbered lines, about as many a second as its argument says, with one write each. Waits while the pipe is full.
import { writeSync } from 'node:fs'

const perSecond = Number(process.argv[2])
const startedMs = performance.now()
let next = 0
const write = () => {
  const due = ((performance.now() - startedMs) * perSecond) / 1_000
  while (next < due) writeSync(1, `line ${next++}\n`)
}
setInterval(write, 5)
