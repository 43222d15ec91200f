import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import { onTestFinished } from 'vitest'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** A Chromium of this machine; `undefined` where there is none. */
export const CHROMIUM = [process.env.CHROMIUM_PATH, ...PLACES].find((path) => path !== undefined && existsSync(path))
if (!CHROMIUM) console.warn('Tests in a browser are skipped: there is no Chromium here; CHROMIUM_PATH may name one')

/** A browser of its own that asks nobody but the pages it is given. Ends with the test. */
export async function launchChromium(): Promise<Browser> {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ]
  const browser = await chromium.launch({ executablePath: CHROMIUM, args })
  onTestFinished(() => browser.close())
  return browser
}
