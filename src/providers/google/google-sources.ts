import type { Source } from '../../domain/execution/model-call.ts'
import { countOf, type ForeignRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

type Described = Pick<Source, 'url' | 'title' | 'text'>
type Range = Pick<Source, 'startIndex' | 'endIndex'>

/**
 * Collects the sources of one answer: `groundingMetadata` (found pages, and the parts of the text that they support),
 * `citationMetadata` and `urlContextMetadata` of a candidate (ai.google.dev/api/generate-content, November 2026). In
 * a stream the lists grow or come late, so the newest one of each counts.
 */
export function createGoogleSources() {
  let chunks: readonly unknown[] = []
  let supports: readonly unknown[] = []
  let citations: readonly unknown[] = []
  let pages: readonly unknown[] = []
  let queries: readonly unknown[] = []

  function citedBySupport(support: ForeignRecord, found: readonly Described[], toRange: RangeOf): readonly Source[] {
    const segment = recordOf(support.segment)
    const range = toRange(segment)
    const text = textOf(segment.text)
    return listOf(support.groundingChunkIndices).flatMap((index) => {
      const chunk = typeof index === 'number' ? found[index] : undefined
      return chunk ? [{ kind: 'citation', ...withoutText(chunk), ...(text && { text }), ...range } as const] : []
    })
  }

  return {
    add({ groundingMetadata, citationMetadata, urlContextMetadata }: ForeignRecord) {
      if (groundingMetadata !== undefined) {
        const grounding = recordOf(groundingMetadata)
        chunks = newest(grounding.groundingChunks, chunks)
        supports = newest(grounding.groundingSupports, supports)
        queries = newest(grounding.webSearchQueries, queries)
      }
      // Older models name the list `citationSources`.
      if (citationMetadata !== undefined) {
        const { citations: listed, citationSources } = recordOf(citationMetadata)
        citations = newest(listed ?? citationSources, citations)
      }
      if (urlContextMetadata !== undefined) pages = newest(recordOf(urlContextMetadata).urlMetadata, pages)
    },
    /** All sources. Ranges refer to `text`, the whole answer. */
    list(text: string): readonly Source[] {
      if (chunks.length + citations.length + pages.length === 0) return NONE
      const toRange = createRangeOf(text)
      const found = chunks.map((chunk) => describe(recordOf(chunk)))
      return [
        ...found.map((chunk) => ({ kind: 'search_result', ...chunk }) as const),
        ...pages.flatMap((page) => {
          const { retrievedUrl, urlRetrievalStatus = 'URL_RETRIEVAL_STATUS_SUCCESS' } = recordOf(page)
          const url = textOf(retrievedUrl)
          return url && urlRetrievalStatus === 'URL_RETRIEVAL_STATUS_SUCCESS' ? [{ kind: 'search_result', url } as const] : []
        }),
        ...supports.flatMap((support) => citedBySupport(recordOf(support), found, toRange)),
        ...citations
          .map(recordOf)
          .map((citation) => ({ kind: 'citation', ...describeOne(citation), ...toRange(citation) }) as const),
      ]
    },
    notes: (): readonly string[] => {
      const searched = queries.filter((query) => typeof query === 'string')
      return searched.length === 0 ? NONE : [`Gemini searched the web for: ${searched.map((query) => `"${query}"`).join(', ')}`]
    },
  }
}

const NONE: readonly never[] = []

const newest = (list: unknown, known: readonly unknown[]) => (listOf(list).length > 0 ? listOf(list) : known)

/** A grounding chunk has one field, named after the kind of its origin: `web`, `retrievedContext`, `maps`, `image`. */
const describe = (chunk: ForeignRecord): Described => describeOne(recordOf(Object.values(chunk)[0]))

function describeOne(origin: ForeignRecord): Described {
  const url = textOf(origin.uri) ?? textOf(origin.sourceUri)
  const title = textOf(origin.title)
  const text = textOf(origin.text)
  return { ...(url && { url }), ...(title && { title }), ...(text && { text }) }
}

const withoutText = ({ text: _text, ...rest }: Described): Described => rest

type RangeOf = (segment: ForeignRecord) => Range

/**
 * Google counts bytes of UTF-8 within a part. A range whose text differs is found by searching the text, or left out.
 */
function createRangeOf(text: string): RangeOf {
  const bytes = Buffer.from(text)
  const toIndex = (byte: number) => bytes.toString('utf8', 0, byte).length
  return (segment) => {
    const named = textOf(segment.text)
    const end = countOf(segment.endIndex)
    if (end !== undefined && end <= bytes.length) {
      const startIndex = toIndex(countOf(segment.startIndex) ?? 0)
      const endIndex = toIndex(end)
      if (named === undefined || text.slice(startIndex, endIndex) === named) return { startIndex, endIndex }
    }
    const startIndex = named === undefined ? -1 : text.indexOf(named)
    return named === undefined || startIndex < 0 ? {} : { startIndex, endIndex: startIndex + named.length }
  }
}
