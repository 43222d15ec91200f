// Allocates 100 MB every 100 ms: in itself or, with an argument, shared by that many children.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MEGABYTES_PER_ROUND = 100
const children = Number(process.argv[2] ?? 0)
const megabytes = Number(process.argv[3] ?? MEGABYTES_PER_ROUND)
process.stdout.write('ready\n')
if (children > 0) {
  for (let index = 0; index < children; index++) {
    const script = fileURLToPath(import.meta.url)
    spawn(process.execPath, [script, '0', String(MEGABYTES_PER_ROUND / children)], { stdio: 'inherit' })
  }
  setInterval(() => {}, 1_000)
} else {
  const kept = []
  setInterval(() => kept.push(Buffer.alloc(megabytes * 1_000_000, 1)), 100)
}
