export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

// Prometheus reads numbers without regard to case, and prom-client writes `Nan`.
const LINE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.e+-]+|nan|[+-]inf)$/i

/** Reads the text format of Prometheus, version 0.0.4; throws at the first invalid line. */
export function parseExposition(text: string): readonly Sample[] {
  const types = new Map<string, string>()
  const samples: Sample[] = []
  for (const line of text.split('\n')) {
    const [, typed, type] = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? []
    if (typed && type) {
      if (types.has(typed)) throw new Error(`${typed} is declared twice`)
      types.set(typed, type)
    }
    if (line === '' || typed || line.startsWith('# HELP ')) continue
    const [, name, labels = '', value] = LINE.exec(line) ?? []
    if (name === undefined) throw new Error(`no line of the format: ${line}`)
    const family = name.replace(/_(bucket|sum|count)$/, '')
    if (!types.has(name) && types.get(family) !== 'histogram' && types.get(family) !== 'summary')
      throw new Error(`no type of ${name}`)
    const pairs = [...labels.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, key = '', given = '']) => [key, given] as const,
    )
    samples.push({ name, labels: Object.fromEntries(pairs), value: Number(value) })
  }
  return samples
}

/** Sum of the samples of a name that have these labels. */
export const sumOf = (samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number =>
  samples
    .filter((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0)

/** Values that a label has, over all metrics of ours. */
export const labelValues = (samples: readonly Sample[], label: string): readonly string[] =>
  [...new Set(samples.filter(({ name }) => name.startsWith('polyphony_')).flatMap(({ labels }) => labels[label] ?? []))].sort()
