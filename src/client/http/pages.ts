interface Page<Item> {
  readonly items: readonly Item[]
  readonly nextCursor?: string
}
interface PageQuery {
  readonly offset?: number
  readonly cursor?: string
}

/** The items of a page and of those after it; a page is asked for when the loop comes to it. */
export async function* allPages<Item, Query extends PageQuery>(
  query: Query,
  list: (query: Query) => Promise<Page<Item>>,
): AsyncGenerator<Item, void> {
  let page = await list(query)
  yield* page.items
  while (page.nextCursor !== undefined) {
    // An offset counts from the beginning; the cursor says where the last page ended.
    page = await list({ ...query, offset: undefined, cursor: page.nextCursor })
    yield* page.items
  }
}
