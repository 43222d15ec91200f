// Allocates 100 MB every 100 ms, in itself or, with an argument, in that many children.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const children = Number(process.argv[2] ?? 0)
if (children > 0) {
  for (let index = 0; index < children; index++) {
    spawn(process.execPath, [fileURLToPath(import.meta.url)], { stdio: 'inherit' })
  }
  setInterval(() => {}, 1_000)
} else {
  const kept = []
  setInterval(() => kept.push(Buffer.alloc(100_000_000, 1)), 100)
}
