import { execFile } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** No keys, no database on disk: what a block needs, it says. */
const ENVIRONMENT = { PATH: process.env.PATH, HOME: process.env.HOME, DATABASE_URL: 'memory://' }

/** Runs a program in a process of its own, as a reader would who pasted it into a file of the package. Resolves with what it printed. */
export async function runBlock(code: string): Promise<string> {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  })
  const words = ['--input-type=module', '--eval', outputText]
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: ROOT, env: ENVIRONMENT })
  return stdout
}

/** Type errors of programs, each under its name, checked together as files of the package. */
export function typeErrors(programs: Readonly<Record<string, string>>): readonly string[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT)
  const sources = new Map(Object.entries(programs).map(([name, code]) => [join(ROOT, name), code]))
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (path) => sources.has(path) || fileExists(path)
  host.readFile = (path) => sources.get(path) ?? readFile(path)
  host.getSourceFile = (path, ...rest) => {
    const code = sources.get(path)
    return code === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, code, ts.ScriptTarget.ES2023)
  }
  const program = ts.createProgram([...sources.keys()], { ...options, noUnusedLocals: false }, host)
  return [...sources.keys()].flatMap((path) => {
    const file = program.getSourceFile(path)
    return ts.getPreEmitDiagnostics(program, file).map(({ messageText, start = 0 }) => {
      const line = (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1
      return `${path.slice(dirname(path).length + 1)}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
    })
  })
}
