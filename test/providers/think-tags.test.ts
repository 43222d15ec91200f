import { describe, expect, test } from 'vitest'
import { createThinkSplitter, opensInPrompt } from '../../src/providers/openai/think-tags.ts'

/** What an application has at the end: void text is forgotten. */
function split(chunks: readonly string[], isOpenInPrompt = false) {
  const splitter = createThinkSplitter({ isOpenInPrompt })
  let text = ''
  let reasoning = ''
  let voids = 0
  for (const part of [...chunks.map((chunk) => splitter.push(chunk)), splitter.end()]) {
    if (part.isVoid) {
      text = ''
      voids++
    }
    text += part.text
    reasoning += part.reasoning
  }
  return { text, reasoning, voids }
}

const CASES: readonly (readonly [title: string, answer: string, text: string, reasoning: string])[] = [
  ['a think tag', '<think>hm</think>\n\nRain.', 'Rain.', 'hm'],
  ['a reasoning tag of Bedrock', '<reasoning>hm</reasoning>Rain.', 'Rain.', 'hm'],
  ['thinking in capitals, with white space', '\n< THINKING >hm</ thinking >\nRain.', 'Rain.', 'hm'],
  ['a tag with attributes', '<thought lang="en">hm</thought>Rain.', 'Rain.', 'hm'],
  ['an empty tag that closes itself', '<think/>Rain.', 'Rain.', ''],
  ['an empty pair', '<think>\n\n</think>\n\nRain.', 'Rain.', '\n\n'],
  ['several blocks', '<reasoning>a</reasoning><reasoning>b</reasoning>Rain.', 'Rain.', 'ab'],
  ['nested tags', '<think>a<think>b</think>c</think>Rain.', 'Rain.', 'a<think>b</think>c'],
  ['reasoning that speaks of a tag', '<think>a <think> tag</think>Rain.', 'Rain.', 'a <think> tag'],
  ['tags of two names', '<think>hm</thinking>Rain.', 'Rain.', 'hm'],
  ['the marks of Magistral', '[THINK]hm[/THINK]Rain.', 'Rain.', 'hm'],
  ['the marks of Kimi', '◁think▷hm◁/think▷Rain.', 'Rain.', 'hm'],
  ['the marks of Cohere', '<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Rain.', 'Rain.', 'hm'],
  [
    'the channels of gpt-oss',
    '<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Rain.',
    'Rain.',
    'hm',
  ],
  ['reasoning that never ends', '<think>hm', '', 'hm'],
  ['a lone closing tag', 'Let me see.\n</think>\n\nRain.', 'Rain.', 'Let me see.\n'],
  ['a lone closing tag within a line', 'thoughts</think>answer', 'answer', 'thoughts'],
  ['a lone closing tag of another name', 'thoughts</REASONING>answer', 'answer', 'thoughts'],
  ['a lone closing mark of Magistral', 'thoughts[/THINK]answer', 'answer', 'thoughts'],
  ['a lone closing tag at the very beginning', '</think>\nRain.', 'Rain.', ''],
  ['no tag', 'Rain.', 'Rain.', ''],
  ['another tag at the beginning', '<thinker>Rain.</thinker>', '<thinker>Rain.</thinker>', ''],
  ['tags in a code block', 'So:\n```xml\n<a></think>\n```\nDone.', 'So:\n```xml\n<a></think>\n```\nDone.', ''],
  ['a tag in inline code', 'Write `</think>` last.', 'Write `</think>` last.', ''],
  ['a quoted tag', 'Write "</think>" last.', 'Write "</think>" last.', ''],
  ['a pair in the middle', 'First <think>x</think> then.', 'First <think>x</think> then.', ''],
  ['a tag behind the reasoning', '<think>a</think>The </think> mark.', 'The </think> mark.', 'a'],
  ['an angle bracket at the end', 'a < b and b <', 'a < b and b <', ''],
  ['white space alone', '  \n', '  \n', ''],
]

describe('reasoning inside the text of an answer', () => {
  test.each(CASES)('%s is separated from the answer for any cuts of the stream', (_, answer, text, reasoning) => {
    const lengths = [1, 2, 3, 5, 7, answer.length]
    for (const length of lengths) {
      const chunks = answer.match(new RegExp(`[\\s\\S]{1,${length}}`, 'gu')) ?? []
      for (const isOpenInPrompt of [false, true]) {
        expect(split(chunks, isOpenInPrompt), `in chunks of ${length}`).toMatchObject({ text, reasoning })
      }
    }
  })

  test('text returned before a lone closing tag becomes void once', () => {
    expect(split(['Let me ', 'see.</th', 'ink>', 'Rain.'])).toEqual({ text: 'Rain.', reasoning: 'Let me see.', voids: 1 })
  })

  test('a model known to omit the opening tag returns no text that becomes void', () => {
    const splitter = createThinkSplitter({ isOpenInPrompt: true })
    expect(splitter.push('Let me see.')).toEqual({ text: '', reasoning: '' })
    expect(splitter.push('</think>Rain')).toEqual({ text: 'Rain', reasoning: 'Let me see.' })
    expect(splitter.push('.')).toEqual({ text: '.', reasoning: '' })
  })

  test('plain text is returned as it arrives', () => {
    const splitter = createThinkSplitter()
    expect(splitter.push('It ')).toEqual({ text: 'It ', reasoning: '' })
    expect(splitter.push('rains.')).toEqual({ text: 'rains.', reasoning: '' })
  })

  test.each([
    ['deepseek-r1:32b', true],
    ['deepseek-ai/DeepSeek-R1', true],
    ['DeepSeek-R1-Distill-Qwen-7B', true],
    ['qwq', true],
    ['Qwen/Qwen3-235B-A22B-Thinking-2507', true],
    ['llama3.3', false],
    ['command-r1000', false],
    ['kimi-k2-thinking', true],
    ['qwen3', false],
  ])('%s: opens its reasoning in the prompt: %s', (model, expected) => {
    expect(opensInPrompt(model)).toBe(expected)
  })
})
