// Writes what breaks readers: a line of as many bytes as its argument says, invalid UTF-8, NUL, escape sequences, and a
// last line without an end.
import { writeSync } from 'node:fs'

const writeAll = (chunk) => {
  for (let rest = chunk; rest.length > 0; ) rest = rest.subarray(writeSync(1, rest))
}
writeAll(Buffer.alloc(Number(process.argv[2]), 'y'))
writeAll(Buffer.from([0x0a, 0xff, 0xfe, 0x00, 0x62, 0x0a]))
writeAll(Buffer.from('\u001b[31mred\u001b[0m \u001b]0;title\u0007\r\n'))
writeAll(Buffer.from('no line feed'))
