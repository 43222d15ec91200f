import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
    // It depends on `eventsource`, which gives its TypeScript to whoever asks for the condition `source`.
    server: { deps: { inline: ['@modelcontextprotocol/client', 'eventsource'] } },
  },
})
