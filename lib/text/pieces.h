/* lib/text/pieces.h: cutting a text into the pieces within which byte pairs merge. Internal. */
#ifndef FP4LAB_TEXT_PIECES_H
#define FP4LAB_TEXT_PIECES_H

#include "fp4lab/base.h"

/* Classes of the code points below PIECES_TABLE; there are neither letters, numbers nor white space above (the planes
 * 4 to 14 hold only tags and variation selectors, 15 and 16 are for private use). */
#define PIECES_TABLE 0x40000u
enum pieces_class { PIECES_OTHER, PIECES_SPACE, PIECES_LETTER, PIECES_NUMBER };

/* classes [PIECES_TABLE], of enum pieces_class: general categories L and N from PCRE2's Unicode tables, white space. */
fp4_status pieces_classes(uint8_t *classes);

/* Walks [pos, end) of a text; with `digits` each numeric character is a piece of its own and the text on either side
 * is matched separately; then GPT-2's pattern. A byte of broken UTF-8 counts as a symbol. */
struct pieces {
    const uint8_t *classes, *text;
    size_t pos, end;
    bool digits;
    size_t limit; /* end of the stretch without numbers around pos; ≤ pos: unknown. Start with 0. */
};
/* The next piece, [*start, *stop); false at the end. */
bool pieces_next(struct pieces *p, size_t *start, size_t *stop);

#endif
