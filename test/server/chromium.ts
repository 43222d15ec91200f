import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type BrowserContext, chromium } from 'playwright-core'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Where there is a Chromium: named by CHROMIUM_PATH, installed, or brought along by a package; `undefined` where there is none. */
export async function findChromium(): Promise<string | undefined> {
  const named = process.env.CHROMIUM_PATH
  return [named, ...PLACES].find((place) => place && existsSync(place)) ?? (await findPackaged())
}

async function findPackaged(): Promise<string | undefined> {
  try {
    const entry = pathToFileURL(createRequire(import.meta.url).resolve('@sparticuz/chromium')).href
    const { default: packaged } = await import(entry)
    return String(await packaged.executablePath())
  } catch {
    return undefined
  }
}

/** A browser without a past. Resolves with what closes it too. */
export async function openBrowser(executablePath: string): Promise<{ readonly context: BrowserContext; close(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'polyphony-chromium-'))
  const context = await chromium.launchPersistentContext(folder, { executablePath, args: FLAGS, headless: true })
  return {
    context,
    async close() {
      await context.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
