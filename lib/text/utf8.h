/* lib/text/utf8.h: reading code points from bytes that may be broken. Internal. */
#ifndef FP4LAB_TEXT_UTF8_H
#define FP4LAB_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_BROKEN UINT32_MAX

/* Length of the code point at s (n ≥ 1 bytes are there), which goes to *code; of a maximal ill-formed part, with
 * *code = UTF8_BROKEN, where there is none (Unicode 15, section 3.9, tables 3-7 and 3-8). */
size_t utf8_next(const uint8_t *s, size_t n, uint32_t *code);
/* Length of the code point that ends right before s + n (n ≥ 1); 1 and UTF8_BROKEN where none does. */
size_t utf8_last(const uint8_t *s, size_t n, uint32_t *code);
/* Writes the 1 to 4 bytes of a code point; returns how many. */
size_t utf8_put(uint32_t code, uint8_t *out);
bool utf8_valid(const char *text, size_t n);

#endif
