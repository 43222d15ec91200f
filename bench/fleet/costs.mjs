const NAMES = ['statements', 'walBytes', 'storedBytes', 'executionMs', 'commits']

/** Costs per flow and per step, from two measured lengths of flow, without what the idle processes did meanwhile. */
export function toCosts({ runs, idle, processes }) {
  const [short, long] = runs
  const ownOf = ({ perFlow, flowsPerSecond }, name) =>
    perFlow[name] - (idle.perProcessPerSecond[name] * processes) / flowsPerSecond
  return Object.fromEntries(
    NAMES.map((name) => {
      const [few, many] = [ownOf(short, name), ownOf(long, name)]
      const perStep = (many - few) / (long.steps - short.steps)
      const perFlow = few - perStep * short.steps
      // On a busy machine times vary by more than seven steps add: then the whole is divided by steps.
      if (perStep > 0 && perFlow > 0) return [name, { perFlow, perStep }]
      return [name, { perFlow: 0, perStep: (few + many) / (short.steps + long.steps) }]
    }),
  )
}
