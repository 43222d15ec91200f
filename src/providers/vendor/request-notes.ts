import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Collects what an adapter changed of one request, while it builds the body. */
export interface RequestNotes {
  /** Notes that the setting, schema, tool or file `what` is not sent, or only a part of it. */
  leaveOut(what: string, why: string): void
  /** Notes that only the part `kept` of a setting is sent. */
  cut(what: string, kept: string, why: string): void
  /** Notes that something weaker is sent in place of a setting. */
  replace(what: string, weaker: string, why: string): void
  /** Adds a note on a value that is sent in another form, which is no loss under `strict`. */
  add(note: string): void
  /** All notes in order. */
  list(): readonly string[]
  /**
   * Throws PROVIDER_REJECTED if the request is strict and something was left out. Must be called before the request is
   * sent.
   */
  checkStrict(request: ModelRequest, provider: string): void
}

const NO_NOTES: readonly string[] = []

export const createRequestNotes = (): RequestNotes => new CollectedNotes()

/** A class, because one is created for every request and most stay empty. */
class CollectedNotes implements RequestNotes {
  #notes: string[] | undefined
  #leftOut: string[] | undefined

  leaveOut(what: string, why: string): void {
    this.#lose(`${what} (${why})`, `${what} was left out: ${why}`)
  }

  cut(what: string, kept: string, why: string): void {
    this.#lose(`a part of ${what} (${why})`, `${what} was cut to ${kept}: ${why}`)
  }

  replace(what: string, weaker: string, why: string): void {
    this.#lose(`${what} (${why})`, `${what} was sent as ${weaker}: ${why}`)
  }

  add(note: string): void {
    this.#notes ??= []
    this.#notes.push(note)
  }

  list(): readonly string[] {
    return this.#notes ?? NO_NOTES
  }

  checkStrict({ strict, model }: ModelRequest, provider: string): void {
    const leftOut = this.#leftOut
    if (!strict || !leftOut) return
    throw new OrchestratorError(
      'PROVIDER_REJECTED',
      `Expected provider "${provider}" to take everything of a strict request, but it would leave out: ${leftOut.join('; ')}. Remove what it does not take, name another model, or set \`strict: false\``,
      { details: { provider, model, leftOut } },
    )
  }

  #lose(what: string, note: string): void {
    this.add(note)
    this.#leftOut ??= []
    this.#leftOut.push(what)
  }
}
