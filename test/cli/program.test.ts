import { readdirSync } from 'node:fs'
import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'

const folder = new URL('../../src/cli/commands/', import.meta.url)

const program = createProgram(() => {
  throw new Error('expected no command to run')
})

/** Words of every command that can be run. */
const wordsOf = (command: Command, words: readonly string[] = []): readonly string[] =>
  command.commands.length === 0
    ? [words.join(' ')]
    : command.commands.flatMap((child) => wordsOf(child, [...words, child.name()]))

test('every file of a command is registered under its name', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'registry.ts')
    // Commands that serve until they are stopped stand in a folder that is no word of theirs.
    .map((file) =>
      file
        .replace(/^serving[\\/]/, '')
        .replace(/\.ts$/, '')
        .replaceAll(/[\\/]/g, ' '),
    )
  expect([...wordsOf(program)].sort()).toEqual(files.sort())
})

test('every command has a description, and every option of every command one as well', () => {
  const all = (command: Command): readonly Command[] => [command, ...command.commands.flatMap(all)]
  for (const command of all(program)) {
    expect(command.description(), command.name()).not.toBe('')
    for (const { flags, description } of command.options) expect(description, `${command.name()} ${flags}`).not.toBe('')
  }
})
