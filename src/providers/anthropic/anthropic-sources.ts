import type { Source } from '../../domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/**
 * Citations and search results of one answer. The Messages API cuts its text into blocks so that each citation supports the whole text of its block;
 * positions that a citation names itself (`start_char_index`, `start_page_number`) are those of the document, not of the answer.
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
    /** A block begins; `textLength` is the length of the text before it. */
    beginBlock: endBlock,
    addCitation(citation: ForeignRecord) {
      const { source } = citation
      const url = textOf(citation.url) ?? urlOf(source)
      const title = textOf(citation.title) ?? textOf(citation.document_title) ?? textOf(source)
      sources.push(toSource('citation', { url, title, text: textOf(citation.cited_text) }))
    },
    /** Takes the results of a search or of a page that was fetched; false for a block that holds none. */
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
    /** All of them, in the order in which they came; `textLength` is the length of the whole text. */
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

/** The `source` of a search result that the user gave is any name, often an address. */
const urlOf = (source: unknown) => (/^https?:\/\//.test(textOf(source) ?? '') ? textOf(source) : undefined)
