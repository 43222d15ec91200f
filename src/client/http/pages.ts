interface Page<Item> {
  readonly items: readonly Item[]
  readonly nextCursor?: string
}
interface PageQuery {
  readonly offset?: number
  readonly cursor?: string
}

/** All items of a list; each page is requested when the loop reaches it. */
export async function* allPages<Item, Query extends PageQuery>(
  query: Query,
  list: (query: Query) => Promise<Page<Item>>,
): AsyncGenerator<Item, void> {
  let page = await list(query)
  yield* page.items
  while (page.nextCursor !== undefined) {
    // The cursor replaces the offset of the query, which counts from the first page.
    page = await list({ ...query, offset: undefined, cursor: page.nextCursor })
    yield* page.items
  }
}
