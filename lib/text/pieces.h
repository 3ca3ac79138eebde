/* lib/text/pieces.h: cutting a text by the patterns of GPT-2, Llama 3 and Qwen 2, by hand. Internal. */
#ifndef FP4LAB_TEXT_PIECES_H
#define FP4LAB_TEXT_PIECES_H

#include "fp4lab/base.h"

/* Classes of the code points below PIECES_TABLE; there are neither letters, numbers nor white space above (the planes
 * 4 to 14 hold only tags and variation selectors, 15 and 16 are for private use). */
#define PIECES_TABLE 0x40000u
enum pieces_class { PIECES_OTHER, PIECES_SPACE, PIECES_LETTER, PIECES_NUMBER };

/* classes [PIECES_TABLE], of enum pieces_class: general categories L and N from PCRE2's Unicode tables, white space. */
fp4_status pieces_classes(uint8_t *classes);
static inline enum pieces_class pieces_class_of(const uint8_t *classes, uint32_t code) { return code < PIECES_TABLE ? classes[code] : PIECES_OTHER; }

/* \s is the property White_Space throughout. */
#define PIECES_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PIECES_LLAMA3_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PIECES_QWEN2_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* whole: one piece. gpt2_digits: each numeric character is a piece of its own and the text on either side is matched separately. */
enum pieces_kind { PIECES_WHOLE, PIECES_GPT2, PIECES_GPT2_DIGITS, PIECES_LLAMA3, PIECES_QWEN2 };

/* Walks [pos, end) of a text. A byte of broken UTF-8 counts as a symbol. */
struct pieces {
    const uint8_t *classes, *text;
    size_t pos, end;
    enum pieces_kind kind;
    size_t limit; /* end of the stretch without numbers around pos; ≤ pos: unknown. Start with 0. */
};
/* The next piece, [*start, *stop); false at the end. */
bool pieces_next(struct pieces *p, size_t *start, size_t *stop);

#endif
