import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { isErrorCode } from './error-code.ts'

// Bits of `man 7 inode` that the group and others must not have.
const ACCESS_OF_OTHERS = 0o077
const WRITABLE_BY_OTHERS = 0o022

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
  if ((mode & (mayBeRead ? WRITABLE_BY_OTHERS : ACCESS_OF_OTHERS)) !== 0) {
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

/**
 * The text of a file that only the user of this process can have written; `undefined` where no file exists. Throws an
 * Error that names what was found: a link, a file of another user, or one that others may write or that cannot be read.
 */
export function readPrivateFile(path: string): string | undefined {
  const file = openPrivate(path)
  if (file === undefined) return undefined
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) throw new Error(`${path} must be an ordinary file`)
    const user = process.getuid?.()
    if (user !== undefined && stats.uid !== user) {
      throw new Error(`${path} must belong to the user ${user} of this process, not to ${stats.uid}`)
    }
    if (user !== undefined && (stats.mode & WRITABLE_BY_OTHERS) !== 0) {
      throw new Error(`${path} must not be writable by other users: chmod 600 ${path}`)
    }
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function openPrivate(path: string): number | undefined {
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants
  try {
    // Opening a pipe would otherwise wait for its writer.
    return openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (error) {
    if (isErrorCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    const found = isErrorCode(error, 'ELOOP') ? 'a link' : error instanceof Error ? error.message : String(error)
    throw new Error(`${path} must be a file that this process can read, found ${found}`, { cause: error })
  }
}
