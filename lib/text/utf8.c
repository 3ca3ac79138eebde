/* UTF-8: code points out of bytes, and repair of what is broken. */
#include "lib/text/utf8.h"

#include <string.h>

#include "fp4lab/text.h"

size_t utf8_next(const uint8_t *s, size_t n, uint32_t *code) {
    uint8_t first = s[0];
    if (first < 0x80) {
        *code = first;
        return 1;
    }
    *code = UTF8_BROKEN;
    /* Table 3-7: the second byte's range depends on the first (no overlong forms, no surrogates, nothing above 10FFFF). */
    size_t length = first >= 0xC2 && first <= 0xDF ? 2 : (first & 0xF0) == 0xE0 ? 3 : first >= 0xF0 && first <= 0xF4 ? 4 : 0;
    if (length == 0)
        return 1;
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    uint32_t value = first & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (i >= n || s[i] < low || s[i] > high)
            return i;
        value = value << 6 | (s[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *code = value;
    return length;
}

size_t utf8_put(uint32_t code, uint8_t *out) {
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length; i-- > 1; code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3F));
    out[0] = (uint8_t)(lead[length] | code);
    return length;
}

size_t utf8_last(const uint8_t *s, size_t n, uint32_t *code) {
    for (size_t length = 1; length <= 4 && length <= n; length++)
        if ((s[n - length] & 0xC0) != 0x80 && utf8_next(s + n - length, length, code) == length)
            return *code == UTF8_BROKEN ? 1 : length;
    *code = UTF8_BROKEN;
    return 1;
}

bool utf8_valid(const char *text, size_t n) {
    const uint8_t *s = (const uint8_t *)text;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        i += s[i] < 0x80 ? 1 : utf8_next(s + i, n - i, &code);
        if (code == UTF8_BROKEN)
            return false;
    }
    return true;
}

fp4_status fp4_utf8_repair(const char *text, size_t bytes, char **out, size_t *out_bytes) {
    const uint8_t *s = (const uint8_t *)text;
    size_t size, used = 0;
    *out = NULL;
    /* A broken part of one byte becomes the three of U+FFFD: the worst case. */
    if (!fp4_size_mul(bytes, 3, &size) || !fp4_size_add(size, 1, &size))
        return fp4_fail(FP4_ERR_ARG, "text of %zu bytes is too long", bytes);
    char *fixed;
    FP4_TRY(FP4_NEW(fixed, size));
    for (size_t i = 0; i < bytes;) {
        uint32_t code;
        size_t length = utf8_next(s + i, bytes - i, &code);
        if (code == UTF8_BROKEN) {
            memcpy(fixed + used, "\xEF\xBF\xBD", 3);
            used += 3;
        } else {
            memcpy(fixed + used, s + i, length);
            used += length;
        }
        i += length;
    }
    *out = fixed;
    *out_bytes = used;
    return FP4_OK;
}
