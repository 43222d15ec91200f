/**
 * Whether a text has nothing to read: empty, white space, control characters, or characters that show nothing, such as zero-width spaces, joiners,
 * U+FEFF and the blank Braille pattern.
 */
export const isBlank = (text: string): boolean => /^[\s\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]*$/u.test(text)
