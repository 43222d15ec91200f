import ts from 'typescript'
import * as client from '../../src/client/client.ts'

/** The blocks of the description of the workflow service, word for word. Its addresses are those of another server. */
export const HEALTH = `GET /health`

export const SUBMIT = `POST /run-graph
Content-Type: application/json

{
  "workflow_type": "sequential",
  "tasks": [
    {
      "agent_id": "task-1",
      "agent_role": "frontend",
      "input_data": {
        "task": "Create a login form component"
      },
      "depends_on": []
    }
  ],
  "metadata": {}
}`

export const STATUS = `GET /status/{workflow_id}`
export const LIST = `GET /workflows?status=completed&limit=10`
export const DELETE = `DELETE /workflows/{workflow_id}`

/** The examples of the three types; each dot stands for fields that every task has. */
export const TYPES = {
  sequential: `{
  "workflow_type": "sequential",
  "tasks": [
    {"agent_id": "1", "agent_role": "frontend", ...},
    {"agent_id": "2", "agent_role": "backend", ...},
    {"agent_id": "3", "agent_role": "qa", ...}
  ]
}`,
  parallel: `{
  "workflow_type": "parallel",
  "tasks": [
    {"agent_id": "1", "agent_role": "qa", ...},
    {"agent_id": "2", "agent_role": "qa", ...},
    {"agent_id": "3", "agent_role": "qa", ...}
  ]
}`,
  graph: `{
  "workflow_type": "graph",
  "tasks": [
    {"agent_id": "1", "agent_role": "frontend", "depends_on": []},
    {"agent_id": "2", "agent_role": "backend", "depends_on": []},
    {"agent_id": "3", "agent_role": "qa", "depends_on": ["1", "2"]},
    {"agent_id": "4", "agent_role": "debugger", "depends_on": ["3"]}
  ]
}`,
} as const

export const BASIC = `import { SwarmInterface, WorkflowBuilder, WorkflowType } from 'ai-orchestra';

// Create client
const swarm = new SwarmInterface('http://localhost:8000');

// Build workflow
const workflow = new WorkflowBuilder(WorkflowType.SEQUENTIAL)
  .addTask('task-1', 'backend', { task: 'Create API endpoint' })
  .addTask('task-2', 'qa', { task: 'Review API' })
  .build();

// Submit and wait for completion
const result = await swarm.submitAndWait(workflow);

console.log(result.status); // 'completed'`

export const PATTERN = `import { WorkflowPatterns, SwarmInterface } from 'ai-orchestra';

const swarm = new SwarmInterface('http://localhost:8000');

// Full-stack development pipeline
const workflow = WorkflowPatterns.fullStackDevelopment(
  'User authentication system'
);

const result = await workflow.submitAndWait(swarm);`

export const MONITORING = `await swarm.submitAndWait(
  workflow,
  60000, // timeout
  (status) => {
    console.log(\`Status: \${status.status}\`);
    status.tasks.forEach(task => {
      console.log(\`  \${task.agent_role}: \${task.status}\`);
    });
  }
);`

export const CURL = `# Submit test workflow
curl -X POST http://localhost:8000/run-graph \\
  -H "Content-Type: application/json" \\
  -d '{
    "workflow_type": "sequential",
    "tasks": [
      {
        "agent_id": "test-1",
        "agent_role": "backend",
        "input_data": {"task": "Create API"}
      }
    ]
  }'`

export const CURL_STATUS = `# Check status
curl http://localhost:8000/status/<workflow-id>`

const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor

/**
 * Runs a block of TypeScript against a server and returns the lines that it prints. The import is left out, and the names
 * of \`given\` are known to it, as those of the blocks before it are.
 */
export async function runSeedBlock(block: string, url: string, given: Readonly<Record<string, unknown>> = {}): Promise<string[]> {
  const source = block.replace(/^import .*$/gm, '').replaceAll('http://localhost:8000', url)
  const code = ts.transpile(source, { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext })
  const lines: string[] = []
  const names = { ...client, console: { log: (line: unknown) => lines.push(String(line)) }, ...given }
  await new AsyncFunction(...Object.keys(names), code)(...Object.values(names))
  return lines
}

/** Sends a block of HTTP to a server. */
export async function sendSeedBlock(block: string, url: string, workflowId = ''): Promise<{ status: number; body: unknown }> {
  const [head = '', body] = block.split('\n\n')
  const [request = '', ...headers] = head.split('\n')
  const [method, path = ''] = request.split(' ')
  const answer = await fetch(url + path.replace('{workflow_id}', workflowId), {
    method,
    headers: headers.map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    body,
  })
  return { status: answer.status, body: await answer.json() }
}
