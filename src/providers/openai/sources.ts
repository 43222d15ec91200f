import type { Source } from '../../domain/execution/model-call.ts'
import { countOf, type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/** Gathers what a vendor names as the origin of an answer, once each, in the vendor's order. */
export interface SourceList {
  /** Citations, annotations or search results: a list of addresses or of objects, in any vendor's form. `offset` is where their text begins. */
  add(kind: Source['kind'], found: unknown, offset?: number): void
  list(): readonly Source[]
}

export function createSourceList(): SourceList {
  const byKey = new Map<string, Source>()
  let latest: unknown

  return {
    add(kind, found, offset = 0) {
      if (!Array.isArray(found) || found.length === 0) return
      // Streams repeat the whole list with every chunk.
      const seen = `${kind}${found.length}${JSON.stringify(found)}`
      if (seen === latest) return
      latest = seen
      for (const each of found) {
        const source = toSource(kind, each, offset)
        if (source) {
          const key = [source.kind, source.url ?? `${source.title} ${source.text}`, source.startIndex, source.endIndex].join(' ')
          const known = byKey.get(key)
          byKey.set(key, known ? { ...known, ...source } : source)
        }
      }
    },
    list: () => [...byKey.values()],
  }
}

/** Perplexity and xAI (addresses, `{ title, url, snippet }`), OpenAI (`{ type, url_citation }` of Chat, flat in Responses), Groq (`content`). */
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
  const deps = [type && found[type], found.url_citation, found.file_citation, found.web, found.source]
  return deps.find(isRecord) ?? found
}

/** What the vendor's own search found, beside the text: in `search_results` of the answer, or in the tools that it ran (Groq). */
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
