// Runs in a folder with OpenAI Agents, and prints what its agents answer: <address of the server> <key>
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from '@openai/agents'
import OpenAI from 'openai'

const [baseURL, apiKey] = process.argv.slice(-2)
setTracingDisabled(true)
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 })
const schema = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'], additionalProperties: false }
const nothing = { type: 'object', properties: {}, required: [], additionalProperties: false }
const look = tool({ name: 'look', description: 'Looks', parameters: nothing, strict: true, execute: () => 'sky' })
const outputType = { type: 'json_schema', name: 'reply', strict: true, schema }

const seen = []
for (const Model of [OpenAIChatCompletionsModel, OpenAIResponsesModel]) {
  const ask = (flow, more, options) =>
    run(new Agent({ name: 'Ada', model: new Model(client, `flow/${flow}`), ...more }), 'Why?', options)
  const streamed = await ask('prose', {}, { stream: true })
  let text = ''
  for await (const chunk of streamed.toTextStream()) text += chunk
  const withTools = { instructions: 'Look.', tools: [look] }
  const streamedTools = await ask('tools', withTools, { stream: true })
  let lookedText = ''
  for await (const chunk of streamedTools.toTextStream()) lookedText += chunk
  seen.push({
    answer: (await ask('prose', { instructions: 'Be brief.' })).finalOutput,
    text,
    object: (await ask('typed', { outputType })).finalOutput,
    withTools: (await ask('tools', withTools)).finalOutput,
    lookedText,
  })
}
console.log(JSON.stringify(seen))
