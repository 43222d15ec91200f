import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build, type Metafile } from 'esbuild'
import ts from 'typescript'
import { afterAll, beforeAll, expect, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { ROOT } from '../support/run-block.ts'

const MAX_BYTES = 15_000
const entry = join(ROOT, 'src/client/client.ts')

/** The bundle that a page would load. */
async function bundle(
  code: string,
): Promise<{ readonly text: string; readonly inputs: Metafile['inputs']; readonly imports: readonly unknown[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    metafile: true,
    absWorkingDir: ROOT,
    logLevel: 'silent',
  })
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports)
  return { text: outputFiles[0]?.text ?? '', inputs: metafile.inputs, imports }
}

test(`a page loads less than ${MAX_BYTES} bytes, and only the client and its event parser`, async () => {
  const { text, inputs, imports } = await bundle(`export * from '${entry}'`)
  expect(text.includes('PolyphonyError')).toBe(true)
  expect(gzipSync(text, { level: 9 }).length).toBeLessThan(MAX_BYTES)
  const foreign = Object.keys(inputs).filter((file) => file !== '<stdin>' && !/^src\/(client|async)\//.test(file))
  expect(foreign.filter((file) => !file.startsWith('node_modules/eventsource-parser/'))).toEqual([])
  expect(imports).toEqual([])
  expect(text.includes('node:')).toBe(false)
})

test('the check fails for a bundle with a schema and for one with a Node module', async () => {
  const { text, inputs } = await bundle(`export * from '${join(ROOT, 'src/protocol/flow.ts')}'`)
  expect(gzipSync(text, { level: 9 }).length).toBeGreaterThan(MAX_BYTES)
  expect(Object.keys(inputs).some((file) => file.includes('node_modules/zod'))).toBe(true)
  await expect(bundle(`import { readFileSync } from 'node:fs'; console.log(readFileSync)`)).rejects.toThrow('node:fs')
})

/** A project of a user with the package as shipped: types and exports. */
let project = ''
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'polyphony-client-'))
  const modules = join(project, 'node_modules')
  await mkdir(join(modules, 'polyphony'), { recursive: true })
  await symlink(join(ROOT, 'node_modules/zod'), join(modules, 'zod'))
  await writeFile(join(project, 'package.json'), '{"type":"module"}')
  await writeFile(join(modules, 'polyphony/package.json'), JSON.stringify(manifest))
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT)
  const program = ts.createProgram([entry], {
    ...options,
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    rootDir: ROOT,
    outDir: join(modules, 'polyphony/dist'),
  })
  program.emit()
}, 120_000)
afterAll(() => rm(project, { recursive: true }))

/** Type errors in programs of a user and in the declarations that they load. */
async function typeErrors(codes: readonly string[], options: ts.CompilerOptions): Promise<readonly string[]> {
  const files = codes.map((_, index) => join(project, `user-${index}.ts`))
  for (const [index, file] of files.entries()) await writeFile(file, codes[index] ?? '')
  const settings = { strict: true, noEmit: true, types: [], target: ts.ScriptTarget.ES2022, skipDefaultLibCheck: true }
  return ts
    .getPreEmitDiagnostics(ts.createProgram(files, { ...settings, ...options }))
    .filter(({ file }) => !file?.fileName.includes('/zod/'))
    .map(
      ({ file, messageText }) =>
        `${file && relative(project, file.fileName)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    )
}

const programWith = (settings: string) => `
  import { createClient, PolyphonyError, type Flow, type FlowDefinitionInput, type FlowUpdate } from 'polyphony/client'
  export type Settings = Pick<FlowDefinitionInput, 'parallel' | 'conditional' | 'critique' | 'refinement'>
  const client = createClient({ baseUrl: '/' })
  const flow: Flow = await client.flows.create({
    threadId: 't',
    definition: { name: 'n', type: 'refinement', steps: [{ id: 'a', model: 'm/n', action: 'generate' }], refinement: { ${settings}: 2 } },
  })
  const at: string = flow.createdAt
  for await (const update of client.flows.follow(flow.id)) if (update.type === 'step_progress') print(update, update.data.delta)
  function print(update: FlowUpdate, text: string) { document.title = text + update.seq + at + String(PolyphonyError.is(update)) }
`
const bundler = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
}
const node = { ...bundler, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }

test.each([
  ['a bundler', bundler],
  ['Node', node],
])(
  'the shipped types hold in a page, resolved as %s does, without the types of Node',
  { timeout: 300_000 },
  async (_, options) => {
    const errors = await typeErrors([programWith('maxIterations'), programWith('mostIterations')], options)
    expect(errors).toEqual([expect.stringMatching(/^user-1\.ts: .*mostIterations/)])
  },
)
