import type { HttpOperationSettings, McpServerSettings } from './operation-settings.ts'

/** Headers whose values say what a request holds, and which are no secrets. */
const PLAIN_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-language',
  'content-type',
  'user-agent',
])
const PLACEHOLDER = /\{[A-Za-z_][\w.-]*\}/
const SECRET_NAME = /auth|credential|key|passphrase|password|secret|signature|token/i
/** Letters with digits, or a long text of the characters of keys: not the words and lists that parameters hold. */
const SECRET_SHAPE = /^(?=.*\d)(?=.*[A-Za-z])[\w.~+/=-]+$|^[\w.~+/=-]{24,}$/

/**
 * Texts of the configuration of HTTP operations that may be secret: values of headers, and values of the query and the
 * body whose name or shape is that of a secret. All others are words that answers may hold too. Of a text with
 * arguments, the parts between them.
 */
export const operationSecretsOf = (operations: Readonly<Record<string, HttpOperationSettings>>): readonly string[] =>
  Object.values(operations)
    .flatMap(({ headers = {}, query = {}, body }) => [...secretHeaders(headers), ...secretMembers(query), ...secretMembers(body)])
    .flatMap((text) => text.split(PLACEHOLDER))
    .flatMap((part) => withToken(part.trim()))

/** Texts of the configuration of an MCP server that may be secret, by the same rules. */
export const serverSecretsOf = (server: McpServerSettings): readonly string[] => {
  if ('command' in server) return secretMembers(server.env)
  const query = Object.fromEntries(new URL(server.url).searchParams)
  return [...secretHeaders(server.headers ?? {}).flatMap(withToken), ...secretMembers(query)]
}

const secretHeaders = (headers: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(headers).flatMap(([name, value]) => (PLAIN_HEADERS.has(name.toLowerCase()) ? [] : value))

/** The value of a header, and its token alone, which a server may repeat without the scheme in front. */
export const withToken = (value: string): readonly string[] => [value, tokenOf(value) ?? '']

/** `abc` of `Bearer abc`. */
export const tokenOf = (value: string): string | undefined => /^\S+ (\S+)$/.exec(value)?.[1]

function secretMembers(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) =>
    typeof member === 'string'
      ? SECRET_NAME.test(name) || member.split(PLACEHOLDER).some((part) => SECRET_SHAPE.test(part))
        ? [member]
        : []
      : secretMembers(member),
  )
}
