import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport } from 'ai'
import { useState } from 'react'
import { createRoot } from 'react-dom/client'

const id = location.hash.slice(1)

function Part({ part }) {
  if (part.type === 'text' && !part.providerMetadata?.polyphony?.void) return <p className="text">{part.text}</p>
  if (part.type === 'data-step') return <p className="step">{`${part.data.stepId}: ${part.data.status}`}</p>
  if (part.type === 'data-answer') return <p className="value">{JSON.stringify(part.data.value)}</p>
  return null
}

function Chat({ messages: stored }) {
  const [input, setInput] = useState('')
  const [transport] = useState(
    () =>
      new DefaultChatTransport({
        prepareReconnectToStreamRequest: () => ({ api: `/api/chat/${id}/stream?after=${stored.at(-1)?.id ?? ''}` }),
      }),
  )
  const { messages, sendMessage, stop, status, error } = useChat({ id, messages: stored, resume: true, transport })
  const submit = async (event) => {
    event.preventDefault()
    setInput('')
    await sendMessage({ text: input })
  }
  const end = async () => {
    await fetch(`/api/chat/${id}/stream`, { method: 'DELETE' })
    await stop()
  }
  return (
    <form onSubmit={submit}>
      {messages.map(({ id: key, role, parts }) => (
        <section key={key} className={role}>
          {parts.map((part, index) => (
            <Part key={index} part={part} />
          ))}
        </section>
      ))}
      <p id="status">{status}</p>
      <p id="error">{error?.message}</p>
      <input value={input} onChange={({ target }) => setInput(target.value)} />
      <button type="button" onClick={end}>
        Stop
      </button>
    </form>
  )
}

const messages = await (await fetch(`/api/chat/${id}`)).json()
createRoot(document.body).render(<Chat messages={messages} />)
