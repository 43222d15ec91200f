import * as z from 'zod'

/** An instant: a Date in the process, ISO 8601 text in JSON. */
export const instant = z.codec(z.iso.datetime({ offset: true }), z.date(), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
})

/**
 * An id or name that every database can store without loss: 1 to 200 characters, without NUL and unpaired surrogates.
 */
export const id = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\0\p{Surrogate}]*$/u, 'expected text without NUL and unpaired surrogates')

/** A list that is readonly in the process. */
export const arrayOf = <Item extends z.ZodType>(item: Item) => z.array(item).readonly()

/** A page of a list. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    items: arrayOf(item),
    /** Value of `cursor` for the next page. Undefined on the last page. */
    nextCursor: z.string().optional(),
  })

/** A whole number in a query string, from `min` to `max`. */
export const queryInteger = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
