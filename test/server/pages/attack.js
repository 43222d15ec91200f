// Everything a page can try against a server that did not ask for it.
export default async function attack({ url, flowId }) {
  const outcomes = {}
  const attempt = async (name, work) => {
    try {
      outcomes[name] = String(await work())
    } catch (error) {
      outcomes[name] = error instanceof Error ? error.name : 'refused'
    }
  }
  const read = async (path, init) => {
    const answer = await fetch(`${url}${path}`, init)
    return answer.type === 'opaque' ? 'opaque' : `${answer.status} ${await answer.text()}`
  }
  const json = { 'content-type': 'application/json' }
  const body = JSON.stringify({ title: 'forged' })
  await attempt('read', () => read('/api/v1/me'))
  await attempt('read without asking', () => read('/api/v1/me', { mode: 'no-cors' }))
  await attempt('ticket', () => read('/api/v1/tickets', { method: 'POST' }))
  await attempt('create', () => read('/api/v1/threads', { method: 'POST', headers: json, body }))
  await attempt('create as text', () => read('/api/v1/threads', { method: 'POST', mode: 'no-cors', body }))
  await attempt('create with nothing', () => read('/api/v1/threads', { method: 'POST', mode: 'no-cors' }))
  await attempt('execute', () => read(`/api/v1/flows/${flowId}/execute`, { method: 'POST', mode: 'no-cors' }))
  await attempt('delete', () => read(`/api/v1/flows/${flowId}`, { method: 'DELETE' }))
  await attempt('beacon', async () => navigator.sendBeacon(`${url}/api/v1/threads`, body))
  await attempt(
    'events',
    () =>
      new Promise((resolve, reject) => {
        const events = new EventSource(`${url}/api/v1/flows/${flowId}/updates`)
        events.onopen = () => resolve('open')
        events.onerror = () => reject(new Error())
      }),
  )
  const open = (protocols) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, protocols)
      socket.onopen = () => resolve('open')
      socket.onerror = () => reject(new Error())
    })
  await attempt('socket', () => open())
  await attempt('socket of ours', () => open(['polyphony.v1']))
  await attempt(
    'form',
    () =>
      new Promise((resolve) => {
        const frame = document.createElement('iframe')
        frame.name = 'target'
        frame.onload = () => resolve('sent')
        const form = document.createElement('form')
        Object.assign(form, { method: 'post', action: `${url}/api/v1/threads`, target: 'target' })
        document.body.append(frame, form)
        form.submit()
      }),
  )
  return outcomes
}
