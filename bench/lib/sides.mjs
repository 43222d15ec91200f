const FLOOR_OF = { mem: 'sdk', pg: 'pg', pglite: 'pg', bull: 'pg' }

export const contenders = {
  ours: (variant) => ({ module: '../contenders/polyphony.mjs', variant }),
  floor: (variant) => ({ module: '../contenders/floor.mjs', variant: FLOOR_OF[variant] }),
}

export const needsPostgres = (variant) => FLOOR_OF[variant] === 'pg'

/** Loads and sets up one side, `ours` or `floor`, for a variant. */
export async function createSide(name, variant, { baseURL, pgUrl }) {
  const contender = contenders[name](variant)
  const { default: create } = await import(contender.module)
  const side = await create(contender.variant)
  await side.setup({ baseURL, pgUrl, poolSize: 10 })
  return side
}

export const createSides = async (variant, connection) => ({
  ours: await createSide('ours', variant, connection),
  floor: await createSide('floor', variant, connection),
})
