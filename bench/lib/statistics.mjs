export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)]
  const above = sorted[Math.ceil(at)]
  return below + (above - below) * (at - Math.floor(at))
}

export const median = (values) => quantile(values, 0.5)

/**
 * A figure from measurements of both sides taken next to each other: neighbours on the machine disturb a pair alike, so the ratio is
 * taken within each pair, and the median pair stands for all.
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
