import type { FilePart, ModelRequest, ModelResponse } from '../../domain/execution/model-call.ts'
import type { AdapterSettings } from '../adapter-settings.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { type ForeignRecord, recordOf } from './foreign-json.ts'
import { type LoadedFiles, loadFiles, NO_LOADED_FILES } from './loaded-files.ts'
import type { AttemptState } from './vendor-error.ts'
import { privateTextsOf, readAnswer, readModelList, withLinkedSignal } from './vendor-http.ts'

/** A request to a vendor. Without a body it is a GET request. */
export interface VendorRequest {
  readonly path: string
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
}

/** Collects one answer, plain or streamed. Both `add…` functions throw the vendor's error, or PROVIDER_BAD_REPLY. */
export interface AnswerCollector {
  /** Reads one event of a stream. Returns true if it is the last one. */
  addEvent(event: ForeignRecord, state: () => AttemptState): boolean
  /** Reads the parsed JSON of a plain answer. */
  addWhole(reply: unknown, state: () => AttemptState): void
  /** Whether the end mark has arrived. */
  isWhole(): boolean
  /** Facts of the attempt so far, for an error. */
  known(): Pick<AttemptState, 'usage' | 'model' | 'generated'>
  response(): ModelResponse
}

export interface HttpProviderOptions {
  readonly kind: string
  /** Values that must not appear in messages, from the transport of the account. */
  readonly secrets: readonly string[]
  /** The end mark of an answer, in words for error messages. */
  readonly endMark: string
  /** Path of the list of models, which `ping` requests, and the field of its response that holds the list. */
  readonly models: { readonly path: string; readonly field: 'data' | 'models' }
  /**
   * The files of a request whose bytes `startAttempt` needs. Called first in every attempt. Throws PROVIDER_REJECTED,
   * such as for a file that is too large, before anything is read.
   */
  readonly filesToRead: (request: ModelRequest) => readonly FilePart[]
  /** Called once per attempt, after its files were read. Throws PROVIDER_REJECTED. */
  readonly startAttempt: (
    request: ModelRequest,
    options: GenerateOptions,
    files: LoadedFiles,
  ) => { readonly outgoing: VendorRequest; readonly answer: AnswerCollector }
  /** Sends a request and resolves with a successful response. Rejects as `Provider.generate` does. */
  readonly send: (request: VendorRequest, signal: AbortSignal, state: () => AttemptState) => Promise<Response>
}

/** A provider that sends one HTTP request per attempt and never repeats it. */
export function createHttpProvider({ id, vendor, simulated }: AdapterSettings, options: HttpProviderOptions): Provider {
  const { kind, secrets, endMark, models, filesToRead, startAttempt, send } = options
  const account: AttemptState = { provider: id, secrets }
  return {
    id,
    kind,
    vendor,
    simulated,
    async generate(request, options) {
      const { signal, onDelta, onActivity } = options
      const loading = loadFiles(filesToRead(request), signal)
      const files = loading ? await loading : NO_LOADED_FILES
      const { outgoing, answer } = startAttempt(request, options, files)
      const state = (): AttemptState => ({ ...account, privateTexts: privateTextsOf(request, files), ...answer.known() })
      return withLinkedSignal(signal, state, async (linked) => {
        const response = await send(outgoing, linked, state)
        await readAnswer(response, {
          streams: onDelta !== undefined,
          onEvent: (event) => answer.addEvent(recordOf(event), state),
          onWhole: (reply) => answer.addWhole(reply, state),
          onActivity,
          endMark,
          isWhole: answer.isWhole,
          state,
        })
        return answer.response()
      })
    },
    async ping(signal) {
      const state = () => account
      await withLinkedSignal(signal, state, async (linked) =>
        readModelList(await send({ path: models.path }, linked, state), models.field, state),
      )
    },
  }
}
