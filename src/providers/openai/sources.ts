import type { Source } from '../../domain/execution/model-call.ts'
import { countOf, type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/** Collects the sources of an answer without repetitions, in the vendor's order. */
export interface SourceList {
  /**
   * Adds citations, annotations or search results: a list of addresses or objects of any vendor. `offset` is the start
   * of their text in the answer.
   */
  add(kind: Source['kind'], found: unknown, offset?: number): void
  list(): readonly Source[]
}

export function createSourceList(): SourceList {
  let byKey: Map<string, Source> | undefined
  let latest: unknown

  return {
    add(kind, found, offset = 0) {
      if (!Array.isArray(found) || found.length === 0) return
      // Streams repeat the whole list with every chunk.
      const seen = `${kind}${found.length}${JSON.stringify(found)}`
      if (seen === latest) return
      latest = seen
      byKey ??= new Map()
      for (const each of found) {
        const source = toSource(kind, each, offset)
        if (source) {
          const key = [source.kind, source.url ?? `${source.title} ${source.text}`, source.startIndex, source.endIndex].join(' ')
          const known = byKey.get(key)
          byKey.set(key, known ? { ...known, ...source } : source)
        }
      }
    },
    list: () => (byKey ? [...byKey.values()] : []),
  }
}

/**
 * Forms: addresses or `{ title, url, snippet }` (Perplexity, xAI), `{ type, url_citation }` (OpenAI Chat), flat
 * (Responses), with `content` (Groq).
 */
function toSource(kind: Source['kind'], found: unknown, offset: number): Source | undefined {
  if (typeof found === 'string') return found === '' ? undefined : { kind, url: found }
  if (!isRecord(found)) return undefined
  const inner = innerOf(found)
  const url = textOf(inner.url) ?? textOf(inner.uri) ?? textOf(inner.link)
  const title = textOf(inner.title) ?? textOf(inner.filename) ?? textOf(inner.name) ?? textOf(inner.file_id)
  const text =
    textOf(inner.content) ?? textOf(inner.snippet) ?? textOf(inner.text) ?? textOf(inner.quote) ?? textOf(inner.cited_text)
  if (url === undefined && title === undefined && text === undefined) return undefined
  const start = countOf(inner.start_index) ?? countOf(found.start_index)
  const end = countOf(inner.end_index) ?? countOf(found.end_index)
  return {
    kind,
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    ...(text !== undefined && { text }),
    ...(start !== undefined && { startIndex: start + offset }),
    ...(end !== undefined && { endIndex: end + offset }),
  }
}

function innerOf(found: ForeignRecord): ForeignRecord {
  const type = textOf(found.type)
  const candidates = [type && found[type], found.url_citation, found.file_citation, found.web, found.source]
  return candidates.find(isRecord) ?? found
}

/**
 * Adds sources outside the text: citations and search results of the answer or message, and of executed tools (Groq).
 */
export function addSearchResults(sources: SourceList, answer: ForeignRecord, message: ForeignRecord): void {
  if (answer.citations !== undefined) sources.add('citation', answer.citations)
  if (answer.search_results !== undefined) sources.add('search_result', answer.search_results)
  if (message.citations !== undefined) sources.add('citation', message.citations)
  if (message.search_results !== undefined) sources.add('search_result', message.search_results)
  if (message.annotations !== undefined) sources.add('annotation', message.annotations)
  if (message.executed_tools === undefined) return
  for (const tool of listOf(message.executed_tools)) {
    const { search_results: results } = recordOf(tool)
    sources.add('search_result', Array.isArray(results) ? results : recordOf(results).results)
  }
}
