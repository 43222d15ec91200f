import { readFileSync } from 'node:fs'

/** Version of this package; `unknown` if its package.json is not found. */
export function readVersion(): string {
  // Compiled files are one folder deeper.
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
      if (name === 'polyphony') return version
    } catch {}
  }
  return 'unknown'
}
