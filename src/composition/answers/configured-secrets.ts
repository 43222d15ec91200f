import type { PolyphonyConfig } from '../../config/config.ts'
import { operationSecretsOf, tokenOf } from '../../config/operations/operation-secrets.ts'
import { decodedUrlText } from '../../providers/transport/url-credentials.ts'

/** A shorter secret could be part of any text, which its removal would spoil. */
const SHORTEST_SECRET = 8

/** The secrets of a configuration in the forms in which a text may hold them, longest first. */
export function configuredSecretsOf({
  providers,
  database,
  redisUrl,
  webhooks,
  mcp,
}: Pick<PolyphonyConfig, 'providers' | 'database' | 'redisUrl' | 'webhooks' | 'mcp'>): readonly string[] {
  const accounts = Object.values(providers).flatMap((account) => {
    if ('generate' in account) return []
    const { headers, proxy } = account
    const keys = ['apiKey' in account ? account.apiKey : undefined, ...('apiKeys' in account ? (account.apiKeys ?? []) : [])]
    const operations = 'operations' in account && account.operations ? operationSecretsOf(account.operations) : []
    return [...keys, ...valuesOf(headers), ...passwordsOf(proxy), ...operations]
  })
  const servers = Object.values(mcp).flatMap((server) =>
    'command' in server ? Object.values(server.env) : [...valuesOf(server.headers), ...queryOf(server.url)],
  )
  const addresses = [...passwordsOf(typeof database === 'string' ? database : undefined), ...passwordsOf(redisUrl)]
  const all = [...accounts, ...servers, ...addresses, ...webhooks.map(({ secret }) => secret)]
  const secrets = new Set(all.filter((secret) => secret !== undefined && secret.length >= SHORTEST_SECRET))
  return [...secrets].filter((secret) => secret !== undefined).sort((a, b) => b.length - a.length)
}

const valuesOf = (headers: unknown): readonly (string | undefined)[] =>
  typeof headers === 'object' && headers !== null
    ? Object.values(headers).flatMap((value) => (typeof value === 'string' ? [value, tokenOf(value)] : []))
    : []

const queryOf = (url: string): readonly string[] => [...new URL(url).searchParams.values()]

function passwordsOf(url: string | undefined): readonly string[] {
  if (url === undefined || !URL.canParse(url)) return []
  const { password } = new URL(url)
  return password === '' ? [] : [password, decodedUrlText(password)]
}
