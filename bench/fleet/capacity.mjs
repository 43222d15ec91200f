const DAY_S = 86_400
const GB = 1e9

/**
 * Every limit of a simulated fleet: what is needed at the busiest minute, what there is, and what to do at the limit.
 * Sorted by the share that is used.
 */
export function findLimits({ simulated, options, measured }) {
  const { fleet, database, accounts } = options
  const { perSecond, most } = simulated
  const idle = measured.idle.perProcessPerSecond
  const perProcess = Math.ceil(Math.max(...measured.runs.map(({ connectionsPerProcess }) => connectionsPerProcess)))
  const limits = [
    {
      limit: 'connections',
      needed: fleet.workers * perProcess,
      available: database.maxConnections,
      unit: '',
      remedy: 'fewer workers with more slots each, a higher max_connections, the queue in Redis',
    },
    {
      limit: 'slots of workers',
      needed: most.running,
      available: fleet.workers * fleet.concurrency,
      unit: '',
      remedy: 'a higher concurrency, then more workers',
    },
    {
      limit: 'calls of the provider accounts',
      needed: perSecond.calls.peak,
      available: (accounts.count * accounts.requestsPerMinute) / 60,
      unit: '/s',
      remedy: 'higher rates from the vendor or further accounts; flows wait meanwhile and keep their slots',
    },
    {
      limit: 'cores of the database',
      needed: (perSecond.executionMs.peak + idle.executionMs * fleet.workers) / 1000,
      available: database.cores,
      unit: '',
      remedy: 'more cores; replicas do not help, because a running flow must read its last write',
    },
    {
      limit: 'transactions, reads included',
      needed: perSecond.commits.peak + idle.commits * fleet.workers,
      available: database.transactionsPerSecond,
      unit: '/s',
      remedy: 'fewer and busier workers, whose flows share commits and timers; a faster disk for the write-ahead log',
    },
    {
      limit: 'write-ahead log',
      needed: (perSecond.walBytes.peak + idle.walBytes * fleet.workers) / 1e6,
      available: database.walMbPerSecond,
      unit: ' MB/s',
      remedy: 'a disk of its own for the log; archive it compressed',
    },
    {
      limit: 'stored data',
      needed: ((simulated.storedBytes / options.durationS) * DAY_S * options.keepDays) / GB,
      available: database.diskGb,
      unit: ' GB',
      remedy: 'updates.retentionMs, deleting old flows, a larger disk, or a database per group of users',
    },
  ]
  const withShare = limits.map((limit) => ({ ...limit, share: limit.needed / limit.available }))
  return withShare.sort((a, b) => b.share - a.share)
}
