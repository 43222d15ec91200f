import { describe, expect, test } from 'vitest'
import { kindOfFile } from '../../src/prompts/file-kind.ts'
import { estimateFileTokens } from '../../src/prompts/file-tokens.ts'

const tokens = (vendor: string, mediaType: string, byteLength: number) => estimateFileTokens(vendor, { mediaType, byteLength })

describe('kindOfFile', () => {
  test.each([
    ['image/png', 'image'],
    ['IMAGE/JPEG', 'image'],
    ['image/svg+xml', 'text'],
    ['application/pdf', 'pdf'],
    ['audio/mpeg', 'audio'],
    ['video/mp4', 'video'],
    ['text/csv', 'text'],
    ['application/json', 'text'],
    ['application/ld+json', 'text'],
    ['application/jsonx', 'other'],
    ['application/zip', 'other'],
    ['', 'other'],
  ])('a file of type "%s" is of the kind %s', (mediaType, kind) => {
    expect(kindOfFile({ mediaType })).toBe(kind)
  })
})

describe('estimateFileTokens', () => {
  test('an image counts as a large one, whatever its bytes, because its pixels are unknown', () => {
    expect(tokens('anthropic', 'image/png', 500)).toBe(4_784)
    expect(tokens('anthropic', 'image/png', 3_000_000)).toBe(4_784)
    expect(tokens('google', 'image/webp', 500)).toBe(1_550)
    expect(tokens('openai', 'image/png', 500)).toBe(2_500)
  })

  test('a PDF counts by the pages that its bytes may hold, at least one', () => {
    expect(tokens('anthropic', 'application/pdf', 1)).toBe(4_600)
    expect(tokens('anthropic', 'application/pdf', 90_001)).toBe(4 * 4_600)
    expect(tokens('google', 'application/pdf', 90_000)).toBe(3 * 560)
  })

  test('text counts by its bytes, and an empty one for nothing', () => {
    expect(tokens('google', 'text/plain', 3_000)).toBe(1_000)
    expect(tokens('google', 'text/plain', 0)).toBe(0)
  })

  test('a minute of sound costs what the vendor counts for it, compressed or not', () => {
    expect(tokens('google', 'audio/wav', 60 * 32_000)).toBe(60 * 32)
    expect(tokens('google', 'audio/mpeg', 60 * 3_000)).toBe(60 * 32)
    expect(tokens('google', 'video/mp4', 60 * 50_000)).toBe(60 * 300)
  })

  test('files that an adapter leaves out cost nothing', () => {
    expect(tokens('anthropic', 'audio/mpeg', 1_000_000)).toBe(0)
    expect(tokens('openai', 'video/mp4', 1_000_000)).toBe(0)
  })

  test('an unknown vendor counts as the dearest one', () => {
    for (const mediaType of ['image/png', 'application/pdf', 'audio/mpeg', 'video/mp4']) {
      const known = ['anthropic', 'google', 'openai'].map((vendor) => tokens(vendor, mediaType, 100_000))
      expect(tokens('constructor', mediaType, 100_000)).toBe(Math.max(...known))
    }
  })
})
