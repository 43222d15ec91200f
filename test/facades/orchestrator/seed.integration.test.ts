// Every TypeScript block of the second source document, as it stands there except for its import; the comments of
// the source are kept. What a block takes from outside itself (`expensiveOperation`, `data`) is defined before it.

import { Agent, Orchestrator } from 'polyphony'
import { expect, test, vi } from 'vitest'

test('the blocks of the source run one after another', async () => {
  // Create orchestrator with custom configuration
  const orchestrator = new Orchestrator({
    healthCheckInterval: 30000,
    maxConcurrentWorkflows: 10,
    loadBalancingStrategy: 'performance_based',
    cacheConfig: {
      ttl: 300000,
      strategy: 'lru',
    },
  })

  // Start the orchestrator
  await orchestrator.start()

  // Create and register agents
  const codeAgent = new Agent({
    id: 'code-agent',
    name: 'Code Generation Agent',
    instructions: 'You are a skilled software developer.',
    // ... agent configuration
  })

  await orchestrator.registerAgent(codeAgent)

  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)

  const eventDispatcher = orchestrator.getEventDispatcher()

  // Register event handler
  eventDispatcher.registerHandler({
    type: 'workflow:completed',
    priority: 'high',
    handler: async (event) => {
      console.log('Workflow completed:', event.data)
    },
  })

  // Define custom workflow
  const workflow = {
    id: 'development_workflow',
    name: 'Development Workflow',
    steps: [
      {
        id: 'analysis',
        name: 'Requirement Analysis',
        type: 'requirement_analysis',
      },
      {
        id: 'coding',
        name: 'Code Generation',
        type: 'execution',
        dependencies: ['analysis'],
      },
      // ... more steps
    ],
  }

  // Execute workflow
  const execution = await orchestrator.executeWorkflow(workflow, {
    requirements: 'Build a REST API',
    technology: 'Node.js',
  })

  expect(execution).toMatchObject({
    status: 'completed',
    completedSteps: ['analysis', 'coding'],
    failedSteps: [],
    simulated: true,
  })
  expect(log).toHaveBeenCalledWith('Workflow completed:', expect.objectContaining({ workflowId: 'development_workflow' }))

  const expensiveOperation = vi.fn(async (input: string) => input.toUpperCase())
  const cache = orchestrator.getCache()

  // Basic caching
  cache.set('key', 'value', { ttl: 300000 })
  const value = cache.get('key')

  // Memoization
  const memoizedFunction = cache.memoize(async (input) => expensiveOperation(input), { namespace: 'operations' })

  expect(value).toBe('value')
  expect([await memoizedFunction('a'), await memoizedFunction('a')]).toEqual(['A', 'A'])
  expect(expensiveOperation).toHaveBeenCalledTimes(1)

  // Get system statistics
  const stats = orchestrator.getStats()
  console.log('System Health:', stats.systemHealth)
  console.log('Active Agents:', stats.agents.availableAgents)
  console.log('Cache Hit Rate:', stats.cache.hitRate)

  // Get performance metrics
  const metrics = await orchestrator.getSystemMetrics()
  console.log('Response Time:', metrics.responseTime)
  console.log('Throughput:', metrics.throughput)

  expect(log.mock.calls.slice(1)).toEqual([
    ['System Health:', 'healthy'],
    ['Active Agents:', 1],
    ['Cache Hit Rate:', 2 / 3],
    ['Response Time:', expect.any(Number)],
    ['Throughput:', 1],
  ])
  log.mockRestore()

  const { workflowManager } = orchestrator

  // Register custom step executor
  workflowManager.stepExecutors.set('custom_step', async (_step, _context) => {
    // Custom step implementation
    return { success: true, output: 'Custom result' }
  })

  const own = { id: 'own', steps: [{ id: 'custom', name: 'Custom', type: 'custom_step' }] }
  expect((await orchestrator.executeWorkflow(own, {})).results).toEqual({ custom: 'Custom result' })

  const data = { step: 1 }

  // Create correlated events
  await eventDispatcher.createEvent('step:started', 'workflow', data, {
    correlationId: 'workflow-123',
  })

  // Get correlated events
  const events = eventDispatcher.getCorrelatedEvents('workflow-123')

  expect(events).toMatchObject([{ type: 'step:started', source: 'workflow', data: { step: 1 } }])
  await orchestrator.stop()
})

test('the block about debug mode and the fields of the source configure an orchestrator', () => {
  const orchestrator = new Orchestrator({
    logLevel: 'debug',
    enableTelemetry: true,
  })

  expect(orchestrator.getStats().systemHealth).toBe('unknown')

  // The interface of the source, whose names are plain texts.
  interface OrchestratorConfig {
    healthCheckInterval: number
    metricsCollectionInterval: number
    workflowTimeout: number
    maxConcurrentWorkflows: number
    loadBalancingStrategy: string
    cacheConfig: { ttl: number; strategy: string }
    retryPolicy: { maxAttempts: number; backoff: string; initialDelay: number; maxDelay: number }
    enableTelemetry: boolean
    logLevel: string
  }
  const all: OrchestratorConfig = {
    healthCheckInterval: 30000,
    metricsCollectionInterval: 10000,
    workflowTimeout: 600000,
    maxConcurrentWorkflows: 10,
    loadBalancingStrategy: 'round_robin',
    cacheConfig: { ttl: 300000, strategy: 'lfu' },
    retryPolicy: { maxAttempts: 3, backoff: 'exponential', initialDelay: 100, maxDelay: 1000 },
    enableTelemetry: true,
    logLevel: 'info',
  }
  expect(new Orchestrator(all).getLoadBalancer().getStats().strategy).toBe('round_robin')
  expect(() => new Orchestrator({ ...all, loadBalancingStrategy: 'magic' })).toThrow(
    'loadBalancingStrategy: expected one of performance_based, round_robin, least_connections, weighted, found "magic"',
  )
})
