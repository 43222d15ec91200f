// The code of ../shared/seeds/S0.md runs as it stands, with the name of the package replaced.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, runBlock, typeErrors } from '../support/run-block.ts'

const DOCUMENT = join(ROOT, '../shared/seeds/S0.md')
const isThere = existsSync(DOCUMENT)
if (!isThere) console.warn('skipped: ../shared/seeds/S0.md, whose blocks are compiled and run here, is not beside the repository')

const blocks = () =>
  [...readFileSync(DOCUMENT, 'utf8').matchAll(/^```typescript\n(.*?)^```/gms)].map(([, code = '']) =>
    code.replaceAll("'aixtiv-orchestra'", "'polyphony'"),
  )

test.skipIf(!isThere)('the blocks of the orchestra compile and run one after another', async () => {
  const [usage = '', handlers = '', ...others] = blocks()
  expect(others).toEqual([])
  const program = `${usage}\n${handlers}\nawait orchestra.registerService({ id: 'second', name: 'Second', type: 'voice', config: {} })\nconsole.log(status)\nawait orchestra.close()\n`
  expect(typeErrors({ 'seed-orchestra.ts': program })).toEqual([])
  const printed = await runBlock(program)
  expect(printed.trim().split('\n')).toEqual(['New service registered: second', 'running'])
})
