import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
export const isBuilt = existsSync(join(ROOT, 'dist/src/index.js'))
if (!isBuilt) console.warn('skipped: dist/ is not built; npm ci or npm run build makes it')

const run = promisify(execFile)

export interface Installed {
  readonly folder: string
  /** Resolves with both outputs as one text; rejects where the program fails, with its output in the message. */
  node(args: readonly string[], environment?: Readonly<Record<string, string>>): Promise<string>
  /** Errors of the type check, one a line; empty where there are none. */
  typeErrors(lib: readonly string[], types: readonly string[]): Promise<string>
  write(name: string, text: string): void
}

/**
 * A folder in which the packed package is installed as a package manager does it, without asking a registry: what it declares as
 * dependencies is beside it, everything else is absent.
 */
export async function installPacked(): Promise<Installed> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'polyphony-packed-'))
  const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: ROOT,
    maxBuffer: 10_000_000,
  })
  const archive = /[\w.-]+\.tgz/.exec(packed.stdout)?.[0]
  if (archive === undefined) throw new Error(`npm pack named no archive: ${packed.stdout.slice(0, 300)}`)
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, 'polyphony'), { recursive: true })
  await run('tar', ['-xzf', join(folder, archive), '-C', join(modules, 'polyphony'), '--strip-components=1'])
  const { dependencies } = JSON.parse(readFileSync(join(modules, 'polyphony/package.json'), 'utf8'))
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  }
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  write('package.json', JSON.stringify({ name: 'user', private: true, type: 'module' }))
  const node = async (args: readonly string[], environment: Readonly<Record<string, string>> = {}) => {
    const env = { PATH: process.env.PATH, HOME: folder, NO_COLOR: '1', ...environment }
    const { stdout, stderr } = await run(process.execPath, args, { cwd: folder, env, maxBuffer: 50_000_000 }).catch(
      ({ message, stdout: output = '' }) => {
        throw new Error(`${message}\n${output}`)
      },
    )
    return stdout + stderr
  }
  return {
    folder,
    node,
    write,
    async typeErrors(lib, types) {
      const compilerOptions = {
        strict: true,
        skipLibCheck: false,
        module: 'nodenext',
        target: 'es2022',
        lib,
        types,
        outDir: 'out',
        rootDir: '.',
      }
      write('tsconfig.json', JSON.stringify({ compilerOptions, include: ['*.ts'] }))
      return node([join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.', '--pretty', 'false']).catch(({ message }) => message)
    },
  }
}
