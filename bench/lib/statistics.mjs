export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)]
  const above = sorted[Math.ceil(at)]
  return below + (above - below) * (at - Math.floor(at))
}

export const median = (values) => quantile(values, 0.5)

/**
 * A figure from pairs of measurements of both sides. Other processes on the machine disturb both sides of a pair alike,
 * so the ratio is taken within each pair, and the median pair is the result.
 */
export function comparePairs(pairs) {
  return {
    ours: median(pairs.map((pair) => pair.ours)),
    floor: median(pairs.map((pair) => pair.floor)),
    ratio: median(pairs.map((pair) => pair.ours / pair.floor)),
    difference: median(pairs.map((pair) => pair.ours - pair.floor)),
    spread: [
      quantile(
        pairs.map((pair) => pair.ours / pair.floor),
        0.25,
      ),
      quantile(
        pairs.map((pair) => pair.ours / pair.floor),
        0.75,
      ),
    ],
  }
}
