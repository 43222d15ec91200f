// Its child listens on the port PORT and holds the pipe; the leader ends with 1 when the child listens,
// after a line with the time.
import { spawn } from 'node:child_process'

const listener =
  "require('node:net').createServer().listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'))"
const child = spawn(process.execPath, ['-e', listener], { stdio: ['ignore', 'pipe', 'inherit'] })
child.stdout.once('data', () => {
  process.stdout.write('the child listens\n')
  process.stdout.write(`${Date.now()}\n`)
  process.exit(1)
})
