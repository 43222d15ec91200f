import { get } from 'node:http'

/** Sets the pace of a running fake provider; resolves with the number of calls it has served. */
export function createPacer(url) {
  const ask = (path) =>
    new Promise((resolve, reject) => {
      // fetch would warm up the connection pool that contenders use.
      get(url + path, { agent: false }, (reply) => {
        let text = ''
        reply.setEncoding('utf8')
        reply.on('data', (piece) => {
          text += piece
        })
        reply.on('end', () => resolve(Number(text)))
      }).on('error', reject)
    })
  return {
    set: (latencyMs, gapMs = 0) => ask(`/pace/${latencyMs}/${gapMs}`),
    calls: () => ask('/calls'),
  }
}
