import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    // Processes of their own on a machine that others use, too: what fails twice is wrong.
    retry: process.env.CI ? 1 : 0,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
    // It depends on `eventsource`, which gives its TypeScript to whoever asks for the condition `source`.
    server: { deps: { inline: ['@modelcontextprotocol/client', 'eventsource'] } },
  },
})
