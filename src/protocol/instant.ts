import * as z from 'zod'

/** An instant: a Date in the process, ISO 8601 text on the wire. */
export const instant = z.codec(z.iso.datetime({ offset: true }), z.date(), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
})

/**
 * Text that every store can hold as an id or a name, and tells from every other: not empty, bounded, without NUL and
 * halves of surrogate pairs.
 */
export const id = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\0\p{Surrogate}]*$/u, 'expected text without NUL and halves of surrogate pairs')

/** A list of the domain, which nobody may change. */
export const arrayOf = <Item extends z.ZodType>(item: Item) => z.array(item).readonly()

/** A page of a list. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    items: arrayOf(item),
    /** Give it back as `cursor` for the next page; absent on the last one. */
    nextCursor: z.string().optional(),
  })

/** A whole number in a query string. */
export const queryInteger = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
