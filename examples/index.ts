import { main as sequentialExample } from './01-sequential.ts'
import { main as parallelExample } from './02-parallel.ts'
import { main as conditionalExample } from './03-conditional-yaml.ts'
import { main as critiqueExample } from './04-critique.ts'
import { main as refinementExample } from './05-refinement.ts'
import { main as streamingExample } from './06-streaming.ts'
import { main as errorsExample } from './07-errors.ts'
import { main as permissionsExample } from './08-permissions.ts'
import { main as costExample } from './09-cost.ts'
import { main as ownProviderExample } from './10-own-provider.ts'
import { main as approvalExample } from './11-approval.ts'
import { main as functionsExample } from './12-functions.ts'
import { main as researchExample } from './13-research.ts'
import { main as invoiceExample } from './14-invoice.ts'
import { main as supportExample } from './15-support.ts'
import { main as codeReviewExample } from './16-code-review.ts'
import type { ExampleOptions } from './example.ts'

export type { ExampleOptions } from './example.ts'
export {
  approvalExample,
  codeReviewExample,
  conditionalExample,
  costExample,
  critiqueExample,
  errorsExample,
  functionsExample,
  invoiceExample,
  ownProviderExample,
  parallelExample,
  permissionsExample,
  refinementExample,
  researchExample,
  sequentialExample,
  streamingExample,
  supportExample,
}

/** One runnable example: `main` works without a key and resolves with the results that the example is about. */
export interface Example {
  /** Name of the file without its extension. */
  readonly name: string
  readonly shows: string
  readonly main: (options?: ExampleOptions) => Promise<unknown>
}

/** All of them, in reading order. */
export const examples: readonly Example[] = [
  { name: '01-sequential', shows: 'steps in order, prompts as templates and functions, messages', main: sequentialExample },
  { name: '02-parallel', shows: 'a panel at the same time, a consensus of it', main: parallelExample },
  { name: '03-conditional-yaml', shows: 'routing, written as YAML', main: conditionalExample },
  { name: '04-critique', shows: 'draft, critique, refinement by two vendors', main: critiqueExample },
  { name: '05-refinement', shows: 'a loop until a score is reached', main: refinementExample },
  { name: '06-streaming', shows: 'a callback, and a stream that is resumed', main: streamingExample },
  { name: '07-errors', shows: 'retry, timeout, resume, fallback', main: errorsExample },
  { name: '08-permissions', shows: 'rights of users, access of providers', main: permissionsExample },
  { name: '09-cost', shows: 'prices, estimated cost, a hard limit', main: costExample },
  { name: '10-own-provider', shows: 'a provider of your own; cancel, resume, rerun', main: ownProviderExample },
  { name: '11-approval', shows: 'a flow that waits for a decision of a person', main: approvalExample },
  { name: '12-functions', shows: 'functions as steps and as conditions, arguments with types', main: functionsExample },
  { name: '13-research', shows: 'two vendors that search the web, numbered sources, a fact check', main: researchExample },
  { name: '14-invoice', shows: 'a PDF read by two vendors, a question where they differ', main: invoiceExample },
  { name: '15-support', shows: 'an agent with tools, of which one needs approval', main: supportExample },
  { name: '16-code-review', shows: 'proposals that a function tests before the verdict', main: codeReviewExample },
]
