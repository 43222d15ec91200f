// What a page does to follow a flow: a ticket for every connection, and after a cut on from where it was.
export default async function follow({ url, flowId, key }) {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const seen = { text: '', seqs: [], connections: 0, status: '' }
  while (seen.status === '' && seen.connections < 20) {
    const answer = await fetch(`${url}/api/v1/tickets`, { method: 'POST', headers })
    const { protocols } = await answer.json()
    seen.connections++
    await new Promise((resolve) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, protocols)
      socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', flowId, afterSeq: seen.seqs.at(-1) ?? 0 }))
      socket.onclose = () => resolve()
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(String(data))
        if (frame.seq !== undefined) seen.seqs.push(frame.seq)
        if (frame.type === 'step_progress') seen.text += frame.data.delta
        if (frame.type !== 'end') return
        seen.status = frame.status
        socket.close()
      }
    })
  }
  return seen
}
