/** Milliseconds from the start of this process to its first request to the model; written by contenders. */
export const marks = { firstCall: 0 }

export const MODEL = 'fake-1'
export const BRANCHES = [0, 1, 2, 3, 4]

/** Prompts of the steps of the two flows. Every contender must use the same. */
export const prompts = {
  generate: (question) => `Write an answer to: ${question}`,
  critique: (question, answer) => `Question: ${question}\nAnswer: ${answer}\nCriticise the answer.`,
  refine: (question, answer, critique) =>
    `Question: ${question}\nAnswer: ${answer}\nCritique: ${critique}\nWrite an improved answer.`,
  branch: (question, index) => `Expert ${index}: answer ${question}`,
  synth: (question, answers) =>
    `Question: ${question}\n${answers.map((answer, index) => `[${index}] ${answer}`).join('\n')}\nSynthesise.`,
}

/** Calls of the model through the official SDK alone. */
export async function createModel(baseURL) {
  const { default: OpenAI } = await import('openai')
  const client = new OpenAI({ apiKey: 'sk-fake', baseURL, maxRetries: 0, timeout: 60_000 })
  const request = (content) => ({ model: MODEL, messages: [{ role: 'user', content }] })
  return {
    async ask(content) {
      const reply = await client.chat.completions.create(request(content))
      return { text: reply.choices[0].message.content, tokens: reply.usage.total_tokens }
    },
    async stream(content, onToken) {
      const pieces = await client.chat.completions.create({
        ...request(content),
        stream: true,
        stream_options: { include_usage: true },
      })
      let text = ''
      let tokens = 0
      for await (const piece of pieces) {
        const delta = piece.choices[0]?.delta?.content
        if (delta) {
          text += delta
          onToken(delta)
        }
        if (piece.usage) tokens = piece.usage.total_tokens
      }
      return { text, tokens }
    },
  }
}
