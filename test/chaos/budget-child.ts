import { createPolyphony, type PolyphonyConfigInput } from 'polyphony'
import { type BudgetJob, runBudgetJob } from './budget-flows.ts'

/** `<configuration as JSON>`: runs every job that it is sent, and answers with its number and outcome. */
const config: PolyphonyConfigInput = JSON.parse(process.argv[2] ?? '{}')
const polyphony = await createPolyphony(config, { env: {}, cwd: '/nonexistent' })

process.on('message', ({ number, job }: { readonly number: number; readonly job: BudgetJob }) => {
  runBudgetJob(polyphony, job).then(
    (outcome) => process.send?.({ number, outcome }),
    (error: unknown) => process.send?.({ number, outcome: { code: String(error) } }),
  )
})
// The parent may be killed without notice.
process.on('disconnect', () => process.exit())
process.send?.('open')
