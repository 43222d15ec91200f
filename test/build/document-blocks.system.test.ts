import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as polyphony from '../../src/index.ts'
import { codeBlocks } from '../support/markdown.ts'
import { SCENE, toProgram } from './document-programs.ts'
import { type Installed, installPacked, isBuilt, ROOT } from './packed.ts'

const DOCUMENT = join(ROOT, '../shared/seeds/S4.md')
const isThere = existsSync(DOCUMENT)
if (!isThere) console.warn('skipped: ../shared/seeds/S4.md, whose blocks are compiled and run here, is not beside the repository')

const SIMULATED = { DATABASE_URL: 'memory://', POLYPHONY_SIMULATOR: 'true', LOG_LEVEL: 'silent' }

/** Imports one program after the other, and runs what it only defines. */
const runner = (names: readonly string[]) => `
import { orchestratorService } from 'polyphony'
import { scene } from './scene.js'
const report: Record<string, unknown> = {}
for (const name of ${JSON.stringify(names)}) {
  try {
    const { definition } = await import('./' + name + '.js')
    report[name] = 'ran'
    if (definition === undefined) continue
    const { threadId, userId } = await scene()
    const flow = await orchestratorService.createFlow(threadId, userId, definition)
    report[name] = (await orchestratorService.executeFlow(flow.id, userId)).status
  } catch (error) {
    report[name] = String(error)
  }
}
console.log('REPORT ' + JSON.stringify(report))
`

describe.skipIf(!isBuilt || !isThere)('the blocks of the source document', { timeout: 300_000 }, () => {
  let installed: Installed
  const names: string[] = []
  beforeAll(async () => {
    installed = await installPacked()
    installed.write('scene.ts', SCENE)
    for (const { code, line } of codeBlocks(readFileSync(DOCUMENT, 'utf8')).filter(({ language }) => language === 'typescript')) {
      names.push(`line-${line}`)
      installed.write(`line-${line}.ts`, toProgram(code, Object.keys(polyphony)))
    }
    installed.write('runner.ts', runner(names))
  }, 240_000)
  afterAll(() => rmSync(installed.folder, { recursive: true, force: true }))

  test('compile strictly against the packed package', async () => {
    expect(names.length).toBeGreaterThan(40)
    expect(await installed.typeErrors(['es2023'], ['node'])).toBe('')
  })

  test('run on the simulator to their end', async () => {
    const output = await installed.node(['out/runner.js'], SIMULATED)
    const report = JSON.parse(/^REPORT (.*)$/m.exec(output)?.[1] ?? output)
    expect(Object.keys(report)).toEqual(names)
    expect(Object.entries(report).filter(([, end]) => end !== 'ran' && end !== 'COMPLETED')).toEqual([])
  })
})
