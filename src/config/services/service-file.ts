import { dirname, resolve } from 'node:path'
import { parseDefinitionText, type SourceLocation } from '../../domain/definition/file.ts'
import { toPathText, toProblems, toSourceLocation } from '../../domain/definition/problems.ts'
import { withSuggestion } from '../../domain/definition/suggestion.ts'
import { type ServiceDefinition, serviceSchema } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { readAliases } from './service-aliases.ts'

/** What is wrong with a service file. */
export interface ServiceFileProblem {
  readonly file: string
  readonly line?: number
  readonly column?: number
  /** Path of the value as the file writes it; `file` for the file as a whole. */
  readonly path: string
  readonly message: string
  readonly suggestion?: string
}

export type ServiceFileContent =
  | { readonly service: ServiceDefinition; readonly problems?: undefined }
  | { readonly service?: undefined; readonly problems: readonly ServiceFileProblem[] }

/** Reads one service file; every problem has file, line and column. */
export async function parseServiceFile(file: string, text: string): Promise<ServiceFileContent> {
  const parsed = await parseDefinitionText(text, { file, format: /\.json$/i.test(file) ? 'json' : 'yaml' }).catch(
    (error: unknown) => toFileProblem(file, error),
  )
  if ('message' in parsed) return { problems: [parsed] }
  const { value, find } = parsed
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { problems: [{ file, line: 1, column: 1, path: 'file', message: 'expected keys and values' }] }
  }
  const { service, pathInFile, clashes } = readAliases(value)
  const located = (path: string, message: string, suggestion?: string): ServiceFileProblem => ({
    file,
    path,
    message,
    ...position(find(path)),
    ...(suggestion !== undefined && { suggestion }),
  })
  const checked = serviceSchema.safeParse(service)
  const problems = [
    ...clashes.map(({ path, other }) => located(path, `expected only one of ${path} and ${other}`)),
    ...toProblems(serviceSchema, checked.error?.issues ?? [], service).map(({ path, message, suggestion }) =>
      located(path === toPathText([]) ? 'file' : pathInFile(path), message, suggestion),
    ),
  ]
  if (!checked.success || problems.length > 0) return { problems }
  // Paths of a service file are relative to it, so that it means the same wherever the server was started.
  const cwd = checked.data.executable && resolve(dirname(file), checked.data.cwd ?? '.')
  return { service: { ...checked.data, ...(cwd !== undefined && { cwd }) } }
}

/** SERVICE_INVALID that names every problem of the files. */
export function serviceFilesInvalid(problems: readonly ServiceFileProblem[]): OrchestratorError {
  const lines = problems.map(
    (problem) => `${toSourceLocation(problem)}${problem.path}: ${withSuggestion(problem.message, problem.suggestion)}`,
  )
  return new OrchestratorError('SERVICE_INVALID', lines.join('\n'), { details: { problems } })
}

const position = (found: SourceLocation | undefined) => ({
  ...(found?.line !== undefined && { line: found.line }),
  ...(found?.column !== undefined && { column: found.column }),
})

/** The problem of a text that cannot be parsed. */
function toFileProblem(file: string, error: unknown): ServiceFileProblem {
  const known = OrchestratorError.from(error)
  const [first] = Array.isArray(known.details.problems) ? known.details.problems : []
  const { message = known.message, line, column } = { message: undefined, line: undefined, column: undefined, ...first }
  return { file, path: 'file', message: String(message), ...position({ line, column }) }
}
