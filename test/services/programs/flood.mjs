// Writes at least as many bytes as its argument says, in lines of 1,000 bytes, then its last line, and ends.
import { writeSync } from 'node:fs'

const bytes = Math.ceil(Number(process.argv[2]) / 1_000) * 1_000
const block = Buffer.from(`${'x'.repeat(999)}\n`.repeat(64))
const writeAll = (chunk) => {
  for (let rest = chunk; rest.length > 0; ) rest = rest.subarray(writeSync(1, rest))
}
for (let left = bytes; left > 0; left -= block.length) writeAll(left < block.length ? block.subarray(0, left) : block)
writeAll(Buffer.from('the last line\n'))
