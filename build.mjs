// Builds dist/: JavaScript by esbuild, types by tsc (see docs/decisions/0015-bundled-build.md).
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

const outdir = process.argv[2] ?? 'dist'
const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'))

rmSync(outdir, { recursive: true, force: true })
const shared = {
  outdir,
  outbase: '.',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  chunkNames: 'chunks/[name]-[hash]',
  logLevel: 'warning',
}
const external = ['polyphony', ...Object.keys(dependencies)]
// Of zod a tenth is used; as a package it opens 95 files at every start.
const withZod = external.filter((name) => name !== 'zod')
await build({
  ...shared,
  entryPoints: ['src/index.ts', 'src/cli/main.ts', 'src/server/main.ts', 'templates/index.ts'],
  external: withZod,
})
await build({ ...shared, entryPoints: ['examples/index.ts'], external })
// For browsers too: by itself, so that it shares no chunk with what runs in Node only.
await build({ ...shared, entryPoints: ['src/client/client.ts'], splitting: false, platform: 'browser', target: 'es2022' })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', outdir], {
  stdio: 'inherit',
})
