import { BlockList, isIP } from 'node:net'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The proxy of the environment for `url`: `https_proxy` or `http_proxy`, otherwise `all_proxy`, each also in upper
 * case. Lower case wins, and an empty variable counts as absent. `no_proxy` has the meaning it has for curl. Unlike
 * curl, and like Go, loopback addresses never use a proxy, which could not reach them. Throws CONFIG_INVALID, which
 * names the variable, for a value that is not the address of a proxy.
 */
export function findEnvironmentProxy(url: URL, environment: Environment): URL | undefined {
  if (isLoopback(url.hostname) || isExempt(url, environment)) return undefined
  const names = [`${url.protocol.slice(0, -1)}_proxy`, 'all_proxy'].flatMap((name) => [name, name.toUpperCase()])
  const name = names.find((candidate) => environment[candidate]?.trim())
  if (name === undefined) return undefined
  const text = environment[name]?.trim() ?? ''
  return toProxyUrl(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`, name)
}

/**
 * Parses the address of a proxy. Throws CONFIG_INVALID, which names the variable or setting `source`, but not the
 * value, which may hold a password.
 */
export function toProxyUrl(text: string, source: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url && /^https?:$/.test(url.protocol) && url.hostname !== '') return url
  const found = url ? `one of the scheme "${url.protocol.slice(0, -1)}"` : 'text that is not a URL'
  throw new OrchestratorError('CONFIG_INVALID', `${source}: expected an http:// or https:// address of a proxy, found ${found}`, {
    details: { key: source },
  })
}

/** The address of a proxy, without credentials. */
export const shownProxy = ({ protocol, host }: URL): string => `${protocol}//${host}`

const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)

/**
 * Entries of `no_proxy` are `*`, a host including its subdomains (with or without a leading dot), an address or a
 * network, each with an optional port.
 */
function isExempt({ hostname, port, protocol }: URL, environment: Environment): boolean {
  const entries = (environment.no_proxy ?? environment.NO_PROXY ?? '').split(/[\s,]+/).filter((entry) => entry !== '')
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const actualPort = port || (protocol === 'https:' ? '443' : '80')
  return entries.some((entry) => {
    if (entry === '*') return true
    const [, name = '', wantedPort] = /^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    if (wantedPort !== undefined && wantedPort !== actualPort) return false
    const wanted = name
      .replace(/^\[|\]$/g, '')
      .replace(/^\*?\./, '')
      .replace(/\.$/, '')
    if (wanted.includes('/')) return isInNetwork(host, wanted)
    return wanted !== '' && (host === wanted || (isIP(host) === 0 && host.endsWith(`.${wanted}`)))
  })
}

function isInNetwork(host: string, network: string): boolean {
  const [address = '', bits] = network.split('/')
  const family = isIP(address)
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits ?? '') || Number(bits) > (family === 4 ? 32 : 128))
    return false
  const list = new BlockList()
  const type = family === 4 ? 'ipv4' : 'ipv6'
  list.addSubnet(address, Number(bits), type)
  return list.check(host, type)
}
