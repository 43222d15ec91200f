import { deserialize, serialize } from 'node:v8'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { ListedFlow, StepState, StoredFlow, StoredUpdate } from '../repository.ts'

/** All that is known of one flow, but for its definition, which many flows share. */
export interface FlowContents {
  readonly flow: Omit<StoredFlow, 'definition'> & { readonly definition: undefined }
  /** In the order they were recorded. */
  readonly results: readonly StepResult[]
  readonly updates: readonly StoredUpdate[]
}

/** What lists and status reports read of a flow: apart from the rest, so that they never unpack what steps wrote. */
export interface PackedFlowHead {
  readonly flow: Omit<ListedFlow, 'definition'>
  readonly states: readonly StepState[]
}

/** Facts of several flows that nothing happens to any more, in about a sixth of the room. Reading one of them reads them all. */
export interface Page<Facts> {
  read(position: number): Facts | undefined
}

// The lowest quality that finds repeated keys and texts at all: higher ones cost more time and gain nothing here.
const COMPRESSION = { params: { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_LGWIN]: 22 } }

/** Flows that cannot be written down, because a parsed value holds a function, say, are kept as they are. */
export function createPage<Facts>(flows: readonly Facts[]): Page<Facts> {
  try {
    // Copied, because the result is a view into a larger buffer that would stay in memory with it.
    return createPackedPage(new Uint8Array(brotliCompressSync(serialize(flows), COMPRESSION)))
  } catch {
    return { read: (position) => flows[position] }
  }
}

// On its own, because closures of one function share what any of them captures: the flows would stay in memory with the page.
function createPackedPage<Facts>(bytes: Uint8Array): Page<Facts> {
  // Weak: a list reads many flows of one page in a row, but nobody should pay for pages that are not read.
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
