import { readFileSync } from 'node:fs'

/** Version of this package; `unknown` where its package.json is not beside it. */
export function readVersion(): string {
  // Compiled files lie one folder deeper.
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
      if (name === 'polyphony') return version
    } catch {}
  }
  return 'unknown'
}
