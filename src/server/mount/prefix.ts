import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** The paths of an app under which a mounted server answers. */
export interface Prefix {
  /** Empty at the root, else a path that begins with a slash and ends without one. */
  readonly path: string
  /**
   * The request target as the server itself knows it, without the prefix. Undefined when the target is not under the
   * prefix.
   */
  strip(target: string): string | undefined
}

const DEFAULT_PREFIX = '/polyphony'
const SEGMENTS = /^(?:\/[\w.~-]+)*$/
/** Scheme and authority of a request target that is a whole URL, as proxies send it (RFC 9112, 3.2.2). */
const AUTHORITY = /^https?:\/\/[^/?#]*/i

/** Throws INPUT_INVALID for anything but a path of plain segments. */
export function createPrefix(given: string = DEFAULT_PREFIX): Prefix {
  const path = given.replace(/\/+$/, '')
  if (!SEGMENTS.test(path)) {
    throw new OrchestratorError(
      'INPUT_INVALID',
      `prefix: expected a path of letters, digits, "-", "_", "." and "~" such as "/polyphony", or "/", found "${given.slice(0, 100)}"`,
    )
  }
  return {
    path,
    strip(target) {
      const authority = AUTHORITY.exec(target)?.[0] ?? ''
      const local = target.slice(authority.length)
      if (!local.startsWith(path)) return undefined
      const rest = local.slice(path.length)
      if (rest === '' || rest.startsWith('?')) return `${authority}/${rest}`
      return rest.startsWith('/') ? authority + rest : undefined
    },
  }
}

/**
 * The path that clients see before the paths of the server: that of the public address where it has one, because a
 * proxy may have changed it, else the prefix.
 */
export function publicPathOf({ path }: Prefix, publicUrl: string | undefined): string {
  const known = publicUrl === undefined ? '' : new URL(publicUrl).pathname.replace(/\/+$/, '')
  return known === '' ? path : known
}
