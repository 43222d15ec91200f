import { deserialize, serialize } from 'node:v8'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import type { CallIntent } from '../../domain/execution/call-intent.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { StepTurn } from '../../domain/tools/turns.ts'
import type { ListedFlow, StepState, StoredFlow, StoredUpdate } from '../repository.ts'

/** The data of one flow without its definition, which many flows share. */
export interface FlowContents {
  readonly flow: Omit<StoredFlow, 'definition'> & { readonly definition: undefined }
  /** In the order in which they were recorded. */
  readonly results: readonly StepResult[]
  readonly updates: readonly StoredUpdate[]
  readonly intents: readonly CallIntent[] | undefined
  readonly turns: readonly StepTurn[] | undefined
}

/**
 * The part of a flow that lists and status reports read. It is packed apart, so that they never unpack the outputs of
 * steps.
 */
export interface PackedFlowHead {
  readonly flow: Omit<ListedFlow, 'definition'>
  readonly states: readonly StepState[]
}

/** Settled flows in compressed form, which takes about a sixth of the memory. Reading one of them unpacks them all. */
export interface Page<Facts> {
  read(position: number): Facts | undefined
}

// The lowest quality that finds repeated keys and texts. Higher ones cost more time without a gain here.
const COMPRESSION = { params: { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_LGWIN]: 22 } }

/** Flows that cannot be serialized, for example because a parsed value holds a function, are kept uncompressed. */
export function createPage<Facts>(flows: readonly Facts[]): Page<Facts> {
  try {
    // Copied, because the result is a view into a larger buffer that would stay in memory with it.
    return createPackedPage(new Uint8Array(brotliCompressSync(serialize(flows), COMPRESSION)))
  } catch {
    return { read: (position) => flows[position] }
  }
}

// A separate function, because closures of one function share all captured variables: the flows would stay in memory
// with the page.
function createPackedPage<Facts>(bytes: Uint8Array): Page<Facts> {
  // A weak reference: a list reads many flows of one page in a row, and pages that are not read should take no memory.
  let unpacked: WeakRef<readonly Facts[]> | undefined
  return {
    read: (position) => {
      let contents = unpacked?.deref()
      if (!contents) {
        contents = unpack<Facts>(bytes)
        unpacked = new WeakRef(contents)
      }
      return contents[position]
    },
  }
}

const unpack = <Facts>(bytes: Uint8Array): readonly Facts[] => deserialize(brotliDecompressSync(bytes))
