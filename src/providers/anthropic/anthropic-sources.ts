import type { Source } from '../../domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/**
 * Collects the citations and search results of one answer. The Messages API splits its text so that a citation
 * supports the whole text of its block. The positions inside a citation (`start_char_index`, `start_page_number`)
 * refer to the document, not to the answer.
 */
export function createAnthropicSources() {
  const sources: Source[] = []
  let blockStart = 0
  let firstOfBlock = 0

  function endBlock(textLength: number) {
    for (let index = firstOfBlock; index < sources.length; index++) {
      const source = sources[index]
      if (source?.kind === 'citation' && textLength > blockStart)
        sources[index] = { ...source, startIndex: blockStart, endIndex: textLength }
    }
    firstOfBlock = sources.length
    blockStart = textLength
  }

  return {
    /** Starts a block. `textLength` is the length of the text before it. */
    beginBlock: endBlock,
    addCitation(citation: ForeignRecord) {
      const { source } = citation
      const url = textOf(citation.url) ?? urlOf(source)
      const title = textOf(citation.title) ?? textOf(citation.document_title) ?? textOf(source)
      sources.push(toSource('citation', { url, title, text: textOf(citation.cited_text) }))
    },
    /** Adds the results of a search or a fetched page. Returns false for other blocks. */
    addResults(block: ForeignRecord): boolean {
      if (block.type !== 'web_search_tool_result' && block.type !== 'web_fetch_tool_result') return false
      const content = Array.isArray(block.content) ? listOf(block.content) : [block.content]
      const results = content.map(recordOf).filter(({ type }) => type === 'web_search_result' || type === 'web_fetch_result')
      for (const result of results) {
        const title = textOf(result.title) ?? textOf(recordOf(result.content).title)
        sources.push(toSource('search_result', { url: textOf(result.url), title }))
      }
      return results.length > 0
    },
    /** All sources in order of arrival. `textLength` is the length of the whole text. */
    list(textLength: number): readonly Source[] {
      endBlock(textLength)
      return sources
    },
  }
}

const toSource = (kind: Source['kind'], { url, title, text }: Pick<Source, 'url' | 'title' | 'text'>): Source => ({
  kind,
  ...(url && { url }),
  ...(title && { title }),
  ...(text && { text }),
})

/** The `source` of a search result given by the user may be any text, often a URL. */
const urlOf = (source: unknown) => (/^https?:\/\//.test(textOf(source) ?? '') ? textOf(source) : undefined)
