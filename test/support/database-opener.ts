import { createInterface } from 'node:readline'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { openStore } from '../../src/repositories/database.ts'
import { newThread } from './stored-data.ts'

/** A process that opens every database whose URL it reads, as a server does, uses it, and reports in one line. */
process.stdout.write('ready\n')
for await (const url of createInterface(process.stdin)) {
  try {
    const store = await openStore({ url, migrations: 'check' })
    await store.threads.create(newThread())
    await store.close()
    process.stdout.write('open\n')
  } catch (thrown) {
    const { code, message } = OrchestratorError.from(thrown)
    process.stdout.write(`${code}: ${message.split('\n', 1)[0]}\n`)
  }
}
