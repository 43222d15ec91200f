import { deserialize, serialize } from 'node:v8'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import type { StepResult } from '../domain/step-result.ts'
import type { StoredFlow, StoredUpdate } from './repository.ts'

/** All that is known of one flow, but for its definition, which many flows share. */
export interface FlowContents {
  readonly flow: Omit<StoredFlow, 'definition'> & { readonly definition: undefined }
  /** In the order they were recorded. */
  readonly results: readonly StepResult[]
  readonly updates: readonly StoredUpdate[]
}

/** Several flows that nothing happens to any more, in about a sixth of the room. Reading one of them reads them all. */
export interface Page {
  read(position: number): FlowContents | undefined
}

// The lowest quality that finds repeated keys and texts at all: higher ones cost more time and gain nothing here.
const COMPRESSION = { params: { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_LGWIN]: 22 } }

/** Undefined where something in the flows cannot be written down, as a function in a parsed value. */
export function createPage(flows: readonly FlowContents[]): Page | undefined {
  let bytes: Uint8Array
  try {
    // Copied, because the result is a view into a larger buffer that would stay in memory with it.
    bytes = new Uint8Array(brotliCompressSync(serialize(flows), COMPRESSION))
  } catch {
    return undefined
  }
  // Weak: a list reads many flows of one page in a row, but nobody should pay for pages that are not read.
  let unpacked: WeakRef<readonly FlowContents[]> | undefined
  return {
    read: (position) => {
      let contents = unpacked?.deref()
      if (!contents) {
        contents = unpack(bytes)
        unpacked = new WeakRef(contents)
      }
      return contents[position]
    },
  }
}

const unpack = (bytes: Uint8Array): readonly FlowContents[] => deserialize(brotliDecompressSync(bytes))
