import type { SimulatedScenario } from '../scenario.ts'

/** A small program that meets its requirements: every phase answers in its type, and the plan deploys nothing. */
export const developmentScenario: SimulatedScenario = {
  template: 'development',
  prompt: 'A small REST API that stores notes in memory: create, read, list and delete.',
  topic: 'rest api that stores notes',
  replies: [
    {
      role: 'You analyse requirements',
      says: `# Notes API
Purpose: other programs keep short notes.
1. POST /notes stores a text and returns its id.
2. GET /notes/:id returns the note, or 404.
3. GET /notes lists all notes.
4. DELETE /notes/:id removes the note.
Constraints: notes are kept in memory and are lost when the process ends.
Out of scope: users, search, changing a note.
Open question: is there a maximum length of a note?`,
    },
    {
      role: 'You split requirements into tasks',
      says: JSON.stringify({
        tasks: [
          { id: 'T1', title: 'Store of notes', description: 'Create, read, list and delete in memory.', priority: 'high' },
          { id: 'T2', title: 'HTTP routes', description: 'Four routes over the store, 404 for an unknown id.', priority: 'high' },
          { id: 'T3', title: 'Tests of the routes', description: 'One test for each requirement.', priority: 'medium' },
        ],
      }),
    },
    {
      role: 'You assign every task',
      says: JSON.stringify({
        assignments: [
          { task: 'T1', agent: 'backend', reason: 'It keeps data.' },
          { task: 'T2', agent: 'backend', reason: 'The routes belong to the service.' },
          { task: 'T3', agent: 'tester', reason: 'It writes tests.' },
        ],
      }),
    },
    {
      role: 'You carry out the work',
      says: `\`\`\`js
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'

const notes = new Map()
const send = (response, status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))

createServer(async (request, response) => {
  const [, route, id] = request.url.split('/')
  if (route !== 'notes') return send(response, 404, { error: 'not found' })
  if (request.method === 'POST') {
    let text = ''
    for await (const chunk of request) text += chunk
    const note = { id: randomUUID(), text }
    notes.set(note.id, note)
    return send(response, 201, note)
  }
  if (request.method === 'GET' && id === undefined) return send(response, 200, [...notes.values()])
  if (!notes.has(id)) return send(response, 404, { error: 'not found' })
  if (request.method === 'DELETE') notes.delete(id)
  return send(response, 200, notes.get(id) ?? {})
}).listen(3000, '127.0.0.1')
\`\`\``,
    },
    {
      role: 'You validate work',
      says: JSON.stringify({
        issues: [],
        feedback: 'All four requirements are met. The length of a note is not limited; that question is still open.',
        score: 1,
        approved: true,
      }),
    },
    {
      role: 'You write the plan of a deployment',
      says: JSON.stringify({
        deployed: false,
        plan: '1. Start the program behind the proxy; GET /notes answers 200. 2. To roll back, start the previous version. Watch: errors above 1 % and memory above 200 MB.',
      }),
    },
    {
      role: 'You write the report',
      says: `The requirements are met; the API is not deployed yet (deployed: false).

**Delivered**: a notes API with four routes, notes kept in memory.
**Validation**: approved. Open question: a maximum length of a note.
**Next**: carry out the deployment plan; watch errors above 1 % and memory above 200 MB.`,
    },
  ],
}
