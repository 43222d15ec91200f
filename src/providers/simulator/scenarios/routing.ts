import type { SimulatedScenario } from '../scenario.ts'

/** A request that only the technical expert answers. */
export const routingScenario: SimulatedScenario = {
  template: 'routing',
  prompt: 'The memory of my Node.js server grows by 50 MB per hour until it is killed. How do I find the cause?',
  topic: 'memory of my node.js server',
  replies: [
    { role: 'You sort requests into categories', says: 'TECHNICAL' },
    {
      role: 'You are the technical expert',
      says: `Growth that never stops points to objects that stay reachable. Assuming Node 20 and one process:

1. See which memory grows: log \`process.memoryUsage()\` once a minute. If \`heapUsed\` grows, go on here; if only \`external\` or \`rss\` does, look at buffers and native modules.
2. Start with \`node --heapsnapshot-signal=SIGUSR2\`, take one snapshot after the warm-up and one an hour later.
3. Load both in Chrome DevTools, choose "Comparison", sort by "Delta". The constructor at the top is what leaks; its "Retainers" show who holds it.
4. The usual holders: a Map used as a cache without a limit, listeners added per request, timers that are never cleared, promises that never settle.

Limit of this answer: a snapshot stops the process and needs about as much memory again, so take it on one instance outside the load balancer.`,
    },
    {
      role: 'You are the generalist',
      says: 'Something keeps growing inside the server. Compare two heap snapshots taken an hour apart; what has multiplied between them is the cause.',
    },
  ],
}
