/* Text from strangers made safe to print. */
#include "fp4lab/base.h"

#include <string.h>
#include <utf8proc.h>

size_t fp4_escape(const char *text, size_t n, char out[FP4_ESCAPED]) {
    utf8proc_int32_t code;
    utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &code);
    if (length <= 0 || code < 0) {
        snprintf(out, FP4_ESCAPED, "\\x%02x", (unsigned char)*text);
        return 1;
    }
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC: /* C0, DEL, C1 */
    case UTF8PROC_CATEGORY_CF: /* what changes the direction of text, or cannot be seen */
    case UTF8PROC_CATEGORY_ZL: /* line and paragraph separators */
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CN: snprintf(out, FP4_ESCAPED, code < 0x80 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned int)code); break;
    default: snprintf(out, FP4_ESCAPED, "%.*s", (int)length, text);
    }
    return (size_t)length;
}

const char *fp4_escape_text(const char *text, char *out, size_t size) {
    size_t n = 0, left = strlen(text);
    while (left && n + FP4_ESCAPED < size) {
        size_t used = fp4_escape(text, left, out + n);
        n += strlen(out + n);
        text += used;
        left -= used;
    }
    out[n] = 0;
    return out;
}
