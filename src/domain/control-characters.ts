// Control characters of C0 and C1 except newline and tab, and the marks that reorder text: terminals act on them.
const CONTROL = /(?![\t\n])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu

/** Removes characters on which a terminal acts from foreign text; tabs and newlines stay. */
export const withoutControls = (text: string): string => text.replace(CONTROL, '')
