import { configDefaults, defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'

const isShort = process.env.POLYPHONY_TESTS === 'short'
const FIXED_SEED = 20_261_120
const SYSTEM = 'test/**/*.system.test.ts'
const STORM = 'test/**/*.storm.test.ts'

/** Of the tests with processes of their own: one of each kind, the quick ones. */
const SHORT_SYSTEM = [
  'test/**/{built-package,commands,directory-lock,examples,loading,readme,simultaneous-start}.system.test.ts',
  'test/services/**/*.system.test.ts',
]
/** Of the storms: those that have fewer cases in their short form. The others take their time whatever their number of cases. */
const SHORT_STORM = [
  'test/**/{api-chaos,boundaries,database-restarts,graph-kills,hostile-definitions,malformed-frames,matrix,policy-canaries,provenance,service-fleet,service-kills,service-logs,service-stops,shared-budgets,tool-kills}.storm.test.ts',
]

// A storm is repeated with the seed that it printed. The short form always has the same one, so that what it finds was brought by a change.
process.env.POLYPHONY_TEST_SEED ??= String(isShort ? FIXED_SEED : Math.floor(Math.random() * 2 ** 31))

/** The suffix of a file says what it needs. A guard against hanging is far above what a test takes on a busy machine. */
const project = (
  name: string,
  include: string[],
  timeoutMs: number,
  more: TestProjectInlineConfiguration['test'] = {},
): TestProjectInlineConfiguration => ({
  extends: true,
  test: { name, include, testTimeout: timeoutMs, hookTimeout: 120_000, ...more },
})
const globalSetup = ['test/support/build-setup.ts']

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    pool: 'forks',
    maxWorkers: 2,
    // By default a poll gives up after a second, which a busy machine needs for less, and misses what lasts under 50 ms.
    expect: { poll: { timeout: 30_000, interval: 5 } },
    // Packages that give their TypeScript under the condition `source`, and those that depend on them.
    server: {
      deps: { inline: ['@modelcontextprotocol/client', 'eventsource', /@ai-sdk\//, /node_modules\/ai\//, 'eventsource-parser'] },
    },
    projects: [
      // Unit tests share a process, since most of their time would go into loading the same modules again.
      project('unit', ['test/**/*.test.ts'], 60_000, {
        exclude: [...configDefaults.exclude, 'test/**/*.*.test.ts'],
        isolate: false,
      }),
      project('integration', ['test/**/*.integration.test.ts'], 60_000),
      project('system', isShort ? SHORT_SYSTEM : [SYSTEM], 300_000, { globalSetup }),
      project('storm', isShort ? SHORT_STORM : [STORM], 300_000, {
        globalSetup: [...globalSetup, 'test/support/seed-setup.ts'],
      }),
    ],
  },
})
