// Runs in a folder with older versions of the AI SDK, and prints the message that each makes of a response on stdin.
let response = ''
for await (const text of process.stdin.setEncoding('utf8')) response += text

const seen = []
for (const name of ['ai-5', 'ai-6']) {
  const { DefaultChatTransport, readUIMessageStream } = await import(name)
  // The transport of useChat checks every chunk against the schema of its version.
  const fetch = async () => new Response(response, { headers: { 'content-type': 'text/event-stream' } })
  const stream = await new DefaultChatTransport({ fetch }).sendMessages({ chatId: 'c', messages: [], trigger: 'submit-message' })
  let message
  const onError = (error) => seen.push(`${name}: ${error.message}`)
  for await (const state of readUIMessageStream({ stream, onError, terminateOnError: true })) message = state
  seen.push(message)
}
console.log(JSON.stringify(seen))
