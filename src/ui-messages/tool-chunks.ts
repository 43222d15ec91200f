import type { FlowUpdateData } from '../domain/execution/flow-update.ts'
import type { FlowUIMessageChunk } from './ui-message.ts'

type Call = Pick<FlowUpdateData['tool_call'], 'turn' | 'callId' | 'tool' | 'arguments' | 'sample'>
type Result = Pick<FlowUpdateData['tool_result'], 'turn' | 'callId' | 'tool' | 'output' | 'isError' | 'sample'>

/**
 * The calls of tools as parts of a message. The engine runs them, so they are marked as executed by the provider: a
 * page neither runs them nor waits for them.
 */
export function createToolChunks() {
  const called = new Set<string>()

  function call(run: string, { tool, arguments: input, ...rest }: Call): readonly FlowUIMessageChunk[] {
    const toolCallId = idOf(run, rest)
    if (called.has(toolCallId)) return []
    called.add(toolCallId)
    return [{ type: 'tool-input-available', toolCallId, toolName: tool, input: input ?? {}, ...BY_ENGINE }]
  }

  return {
    call,
    result(run: string, { tool, output, isError, ...rest }: Result): readonly FlowUIMessageChunk[] {
      const toolCallId = idOf(run, rest)
      const ended: FlowUIMessageChunk = isError
        ? { type: 'tool-output-error', toolCallId, errorText: output, ...BY_ENGINE }
        : { type: 'tool-output-available', toolCallId, output, ...BY_ENGINE }
      // A message refuses a result without its call.
      return [...call(run, { tool, ...rest }), ended]
    },
  }
}

const BY_ENGINE = { providerExecuted: true, dynamic: true } as const

/** Vendors number calls anew in each turn. */
const idOf = (run: string, { turn, callId, sample = 0 }: Pick<Call, 'turn' | 'callId' | 'sample'>): string =>
  `${run}.${sample}/${turn}/${callId}`
