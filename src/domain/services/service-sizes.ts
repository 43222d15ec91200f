const UNITS = new Map([
  ['', 1],
  ['B', 1],
  ['KB', 1024],
  ['MB', 1024 ** 2],
  ['GB', 1024 ** 3],
  ['TB', 1024 ** 4],
])

/** Bytes of `512MB`, `1.5 GiB` or `1048576`; units are binary. `undefined` for other text. */
export function parseByteSize(text: string): number | undefined {
  const [, amount = '', unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B?)\s*$/i.exec(text) ?? []
  const bytes =
    Number(amount) *
    (UNITS.get(
      unit
        .toUpperCase()
        .replace('I', '')
        .replace(/^([KMGT])$/, '$1B'),
    ) ?? Number.NaN)
  return amount !== '' && Number.isSafeInteger(Math.round(bytes)) ? Math.round(bytes) : undefined
}

/** Percent of one core of `25%` or `25`. `undefined` for other text. */
export function parseCpuPercent(text: string): number | undefined {
  const [, amount] = /^\s*(\d+(?:\.\d+)?)\s*%?\s*$/.exec(text) ?? []
  return amount === undefined ? undefined : Number(amount)
}
