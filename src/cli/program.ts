import { Command } from 'commander'
import { readVersion } from '../config/version.ts'
import type { CreateContext } from './command.ts'
import { COMMANDS } from './commands/registry.ts'

/** The program with all its commands; parsing a command line runs one of them. */
export function createProgram(createContext: CreateContext): Command {
  const program = new Command('polyphony')
    .description(
      'Runs flows in which several language models work on one task. Every step is stored, sharing needs consent, and every call is priced.',
    )
    .version(readVersion())
    .showSuggestionAfterError()
    .exitOverride()
    // main.ts reports errors of the command line in the same form as all others.
    .configureOutput({ outputError: () => {} })
  for (const command of COMMANDS) command.register(program, createContext)
  return program
}

/** Commands of services that need no group, as no other command has their names. */
const SERVICE_WORDS: readonly string[] = ['list', 'show', 'start', 'stop', 'restart']

/** `polyphony start my-service` is short for `polyphony services start my-service`. */
export const toFullWords = (words: readonly string[]): readonly string[] =>
  words[0] !== undefined && SERVICE_WORDS.includes(words[0]) ? ['services', ...words] : words
