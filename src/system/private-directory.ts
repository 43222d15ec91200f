import { lstatSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'

const CLOSED = 0o077
const READABLE = 0o022

/**
 * Creates the directory, with its parents, for the user of this process only, or checks that it is such a directory;
 * with `mayBeRead`, other users may read in it and not write. Throws an Error that names what was found.
 */
export function ensurePrivateDirectory(path: string, { mayBeRead = false } = {}): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const stats = lstatSync(path)
  if (!stats.isDirectory()) throw new Error(`${path} must be a directory, not a link or a file`)
  const user = process.getuid?.()
  if (user === undefined) return
  if (stats.uid !== user) throw new Error(`${path} must belong to the user ${user} of this process, not to ${stats.uid}`)
  const mode = stats.mode & 0o777
  if ((mode & (mayBeRead ? READABLE : CLOSED)) !== 0) {
    const [rule, right] = mayBeRead ? ['not be writable by', 755] : ['be closed to', 700]
    throw new Error(`${path} must ${rule} other users, its mode is ${mode.toString(8)}: chmod ${right} ${path}`)
  }
}

/** Writes the file so that it is read either whole or not at all; other users cannot read it. */
export function writePrivateFile(path: string, text: string): void {
  const draft = `${path}.${process.pid}.draft`
  writeFileSync(draft, text, { mode: 0o600 })
  renameSync(draft, path)
}
