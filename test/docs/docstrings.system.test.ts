import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { ROOT, typeErrors } from '../support/run-block.ts'

/**
 * Objects that examples use without an import. Examples import everything else: those for users from the package, those
 * for implementers from paths relative to their file.
 */
const GLOBALS = `
import type { Polyphony, Thread } from 'polyphony'
import type { Flow, PolyphonyClient, PolyphonySocket } from 'polyphony/client'
declare global {
  const polyphony: Polyphony
  const client: PolyphonyClient
  const socket: PolyphonySocket
  const thread: Pick<Thread, 'id'>
  const flow: Pick<Flow, 'id'>
  const error: unknown
}
`

const sources = ['src', 'templates'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file}`),
)

/** Contracts that users call or implement. Each has an example. */
const CONTRACTS = [
  'CallLayer',
  'ConversationService',
  'DataSharingService',
  'Engine',
  'Executor',
  'OrchestratorError',
  'PermissionService',
  'PolyphonyError',
  'Provider',
  'createClient',
  'createFlow',
  'createPolyphony',
  'defineTemplate',
  'executeFlow',
  'streamFlow',
]

/** The comment text of a file, on the same line numbers. All other lines are empty. */
const commentsOf = (file: string): string =>
  readMarkdown(file)
    .split('\n')
    .map((line) => /^\s*\* ?(.*)$/.exec(line)?.[1] ?? '')
    .join('\n')

/** The examples of all docstrings, each as a module beside its file, with the line numbers of the file. */
const examples: Readonly<Record<string, string>> = Object.fromEntries(
  sources.flatMap((file) =>
    codeBlocks(commentsOf(file))
      .filter(({ language }) => language === 'ts')
      .map(({ line, code }) => [file.replace(/\.ts$/, `.example-${line}.ts`), `${'\n'.repeat(line)}${code}\nexport {}`]),
  ),
)

// One check for all examples, since each takes as long as the types of the whole package do.
test('the examples in docstrings have no type error, and a wrong one beside them has', () => {
  const fences = sources.flatMap((file) => readMarkdown(file).match(/^\s*\*\s*```ts\b/gm) ?? [])
  expect(Object.keys(examples)).toHaveLength(fences.length)
  expect(fences.length).toBeGreaterThan(15)
  const errors = typeErrors({
    'test/docs/globals.ts': GLOBALS,
    ...examples,
    'src/wrong.ts': "await polyphony.orchestrator.createFlow('thread', 1, {})\nexport {}",
  })
  expect(errors).toEqual([expect.stringMatching(/^wrong\.ts:1 /)])
})

/** From an example to the end of its docstring, and the name of the declaration that follows. */
const DOCUMENTED = /```ts\n(?:(?!\*\/).)*\*\/\n(?:\s|export|async|function|class|interface|type|const|\*)*\b(\w+)/gs

test('every contract has an example in its docstring', () => {
  const documented = sources.flatMap((file) => [...readMarkdown(file).matchAll(DOCUMENTED)].map(([, name]) => name))
  expect(CONTRACTS.filter((name) => !documented.includes(name))).toEqual([])
})
