// Computes for about a millisecond, again and again, and writes how long each turn took by the clock, in microseconds,
// after the time in milliseconds. Rests as long as it computes, so that it competes with others as a server does.
import { setTimeout as sleep } from 'node:timers/promises'

const ROUNDS = 60_000
let sum = 0
const turn = () => {
  for (let round = 0; round < ROUNDS; round++) sum += Math.sqrt(round)
}
for (let warm = 0; warm < 200; warm++) turn()
for (;;) {
  const atMs = Date.now()
  const sinceMs = performance.now()
  turn()
  process.stdout.write(`${atMs} ${Math.round((performance.now() - sinceMs) * 1_000)}\n`)
  if (sum > 1e15) sum = 0
  await sleep(1)
}
