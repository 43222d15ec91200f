import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { onTestFinished } from 'vitest'

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
async function findChromium(): Promise<string | undefined> {
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

/** A Chromium of this machine; `undefined` where there is none. */
export const CHROMIUM = await findChromium()
if (CHROMIUM === undefined) console.warn('Tests in a browser are skipped: there is no Chromium here; CHROMIUM_PATH may name one')

/** A page in a browser without a past, which ends with the test. */
export async function openPage(): Promise<Page> {
  const { context, close } = await openBrowser(CHROMIUM ?? '')
  onTestFinished(close)
  return context.newPage()
}
