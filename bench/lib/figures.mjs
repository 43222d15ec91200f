const atMost = (of, limit, unit = '') => ({ of, limit, unit })
const atLeast = (of, limit, unit = '') => ({ of, limit, unit, isMinimum: true })
const IN_MEMORY = ['mem']
const ON_POSTGRES = ['pg']
const OVER_MACHINES = ['bull']

// Statements sent by a timer, such as heartbeats, are counted too, hence the tolerance of a hundredth of a statement
// per flow.
/** The figures with their units and the permitted overhead; `of` names the column that is compared with the limit. */
export const figures = {
  cpu: {
    title: 'CPU per flow',
    unit: 'ms',
    targets: [
      [IN_MEMORY, atMost('ratio', 0.75)],
      [ON_POSTGRES, atMost('ratio', 0.9)],
    ],
  },
  throughput: { title: 'throughput', unit: 'flows/s', targets: [[OVER_MACHINES, atLeast('ratio', 0.8)]] },
  allocations: { title: 'allocated per flow', unit: 'kB', targets: [[IN_MEMORY, atMost('ratio', 0.9)]] },
  waiting: { title: 'heap per waiting flow', unit: 'kB', targets: [[IN_MEMORY, atMost('ratio', 1.2)]] },
  left: { title: 'left per finished flow', unit: 'kB', targets: [[IN_MEMORY, atMost('ours', 1, ' kB')]] },
  token: { title: 'CPU per streamed token', unit: 'µs', targets: [[IN_MEMORY, atMost('difference', 10, ' µs')]] },
  'first-token': { title: 'time to first token', unit: 'ms', targets: [] },
  latency: { title: 'p50 at 20 ms provider latency', unit: 'ms', targets: [[ON_POSTGRES, atMost('difference', 6, ' ms')]] },
  statements: {
    title: 'SQL statements per flow',
    unit: '',
    targets: [
      [ON_POSTGRES, { ...atMost('ours', 6), digits: 1, only: { kind: 'seq', inFlight: 1 } }],
      [ON_POSTGRES, { ...atMost('ours', 12), digits: 1, only: { kind: 'par', inFlight: 1 } }],
      [ON_POSTGRES, { ...atMost('ours', 1), only: { inFlight: 100 } }],
      [OVER_MACHINES, { ...atMost('ours', 9), digits: 1, only: { kind: 'seq', inFlight: 1 } }],
      [OVER_MACHINES, { ...atMost('ours', 15), digits: 1, only: { kind: 'par', inFlight: 1 } }],
      [OVER_MACHINES, { ...atMost('ours', 4), only: { inFlight: 100 } }],
    ],
  },
  wal: { title: 'write-ahead log per flow', unit: 'kB', targets: [[ON_POSTGRES, atMost('ratio', 1.6)]] },
  delivery: { title: 'p99 delivery', unit: 'ms', targets: [[IN_MEMORY, atMost('ours', 100, ' ms')]] },
  'delivery-median': { title: 'p50 delivery', unit: 'ms', targets: [] },
  'fan-out-cpu': { title: 'CPU of the server, of one core', unit: '%', targets: [] },
  'idle-reader': { title: 'RSS per idle reader', unit: 'kB', targets: [[IN_MEMORY, atMost('ours', 20, ' kB')]] },
  'idle-reader-heap': { title: 'heap per idle reader', unit: 'kB', targets: [[IN_MEMORY, atMost('ours', 20, ' kB')]] },
  'healthy-delivery': { title: 'p99 delivery', unit: 'ms', targets: [[IN_MEMORY, atMost('ours', 100, ' ms')]] },
  'cold-start': { title: 'start to first model call', unit: 'ms', targets: [[IN_MEMORY, atMost('ratio', 1.6)]] },
}

const applies = (target, row) => Object.entries(target.only ?? {}).every(([key, value]) => row[key] === value)

/** Adds the target to a row, and whether the row meets it. */
export function judge(row) {
  const found = figures[row.figure].targets.find(([variants, target]) => variants.includes(row.variant) && applies(target, row))
  if (!found) return row
  const [, { of, limit, unit, digits, isMinimum = false }] = found
  const value = digits === undefined ? row[of] : Number(row[of].toFixed(digits))
  const target = isMinimum ? { of, atLeast: limit, unit } : { of, atMost: limit, unit }
  return { ...row, target, met: isMinimum ? value >= limit : value <= limit }
}
