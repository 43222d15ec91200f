// Listens on the port PORT and answers every request with 200.
import { createServer } from 'node:http'

createServer((_request, response) => response.end('healthy')).listen(Number(process.env.PORT), '127.0.0.1', () => {
  process.stdout.write('listening\n')
})
