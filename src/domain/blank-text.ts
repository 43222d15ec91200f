const BLANK = /^[\s\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]*$/u

/**
 * Whether a text is blank: empty, or only white space, control characters and invisible characters, such as zero-width
 * spaces, joiners, U+FEFF and the blank Braille pattern.
 */
export const isBlank = (text: string): boolean => BLANK.test(text)
