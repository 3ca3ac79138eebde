/* The patterns matched by hand, because a piece is a few bytes and a regular expression's entry costs more than that. GPT-2's: Radford
 * et al. 2019, encoder.py; Llama 3's and Qwen 2's: the tokenizer.json of those models. */
#include "lib/text/pieces.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <string.h>

#include "lib/text/utf8.h"

/* Property White_Space of Unicode, which PCRE2's \s and \h\v do not equal (they take in U+180E). */
static void mark_white_space(uint8_t *classes) {
    static const uint32_t ranges[][2] = {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                         {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        memset(classes + ranges[i][0], PIECES_SPACE, ranges[i][1] - ranges[i][0] + 1);
}

/* Marks the runs of letters and of numbers in `all`, which holds the code points in ascending order. */
static fp4_status mark_runs(pcre2_code *code, pcre2_match_data *match, const uint8_t *all, size_t bytes, uint8_t *classes) {
    for (size_t at = 0; at < bytes;) {
        int groups = pcre2_match(code, all, bytes, at, PCRE2_NO_UTF_CHECK, match, NULL);
        if (groups == PCRE2_ERROR_NOMATCH)
            break;
        if (groups < 0)
            return fp4_fail(FP4_ERR_MEMORY, "PCRE2 cannot scan the Unicode classes: error %d", groups);
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(match);
        for (size_t i = found[0]; i < found[1];) {
            uint32_t point;
            i += utf8_next(all + i, bytes - i, &point);
            classes[point] = groups == 2 ? PIECES_NUMBER : PIECES_LETTER;
        }
        at = found[1];
    }
    return FP4_OK;
}

static fp4_status find_classes(uint8_t *classes) {
    uint8_t *all;
    size_t bytes = 0;
    memset(classes, PIECES_OTHER, PIECES_TABLE);
    mark_white_space(classes);
    FP4_TRY(FP4_NEW(all, (size_t)PIECES_TABLE * 4));
    for (uint32_t point = 0; point < PIECES_TABLE; point++)
        if (point < 0xD800 || point > 0xDFFF)
            bytes += utf8_put(point, all + bytes);
    int error;
    PCRE2_SIZE where;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR) "\\p{L}+|(\\p{N}+)", PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &where, NULL);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, NULL) : NULL;
    fp4_status status;
    if (match) {
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where it is not to be had the match is only slower */
        status = mark_runs(code, match, all, bytes, classes);
    } else {
        status = fp4_fail(FP4_ERR_UNSUPPORTED, "PCRE2 was built without Unicode or has no memory: error %d", code ? 0 : error);
    }
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    fp4_free(all);
    return status;
}

/* Found once a process: it takes some milliseconds. */
fp4_status pieces_classes(uint8_t *classes) {
    static uint8_t found[PIECES_TABLE];
    static bool done;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    fp4_status status = done ? FP4_OK : find_classes(found);
    done = status == FP4_OK;
    pthread_mutex_unlock(&lock);
    if (status == FP4_OK)
        memcpy(classes, found, PIECES_TABLE);
    return status;
}

static enum pieces_class class_at(const struct pieces *p, size_t at, size_t *length) {
    uint8_t byte = p->text[at];
    if (byte < 0x80) {
        *length = 1;
        return p->classes[byte];
    }
    uint32_t code;
    *length = utf8_next(p->text + at, p->end - at, &code);
    return pieces_class_of(p->classes, code);
}

/* End of the run of one class from `at`. */
static size_t run_end(const struct pieces *p, size_t at, size_t limit, enum pieces_class class) {
    size_t length;
    while (at < limit && class_at(p, at, &length) == class)
        at += length;
    return at;
}

static size_t contraction(const uint8_t *s, size_t n) {
    if (n < 2 || s[0] != '\'')
        return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd')
        return 2;
    bool two = n >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l'));
    return two ? 3 : 0;
}

/* Without regard to case; U+017F (C5 BF) folds to s. */
static size_t any_contraction(const uint8_t *s, size_t n) {
    if (n < 2 || s[0] != '\'')
        return 0;
    uint8_t folded[3] = {'\'', (uint8_t)(s[1] | 32), n >= 3 ? (uint8_t)(s[2] | 32) : 0};
    if (n >= 3 && s[1] == 0xC5 && s[2] == 0xBF)
        return 3;
    return s[1] < 0x80 && (n < 3 || s[2] < 0x80 || strchr("stmd", folded[1])) ? contraction(folded, n < 3 ? n : 3) : 0;
}

/* White space: all of it at the end of the text, else all but its last character, which must leave something. */
static size_t space_end(const struct pieces *p, size_t at, size_t limit) {
    size_t length, last = at, stop = at;
    while (stop < limit && class_at(p, stop, &length) == PIECES_SPACE) {
        last = stop;
        stop += length;
    }
    return stop == limit || last == at ? stop : last;
}

/* End of the match of GPT-2's pattern at `at` in a text that ends at `limit`. */
static size_t match_end(const struct pieces *p, size_t at, size_t limit) {
    size_t length, short_form = contraction(p->text + at, limit - at);
    if (short_form)
        return at + short_form;
    size_t body = p->text[at] == ' ' && at + 1 < limit ? at + 1 : at;
    enum pieces_class class = class_at(p, body, &length);
    return class == PIECES_SPACE ? space_end(p, at, limit) : run_end(p, body + length, limit, class);
}

static bool line_end(uint8_t byte) {
    return byte == '\r' || byte == '\n';
}

/* The same for Llama 3's pattern, with up to `digits` numeric characters in a piece. */
static size_t llama3_end(const struct pieces *p, size_t at, int digits) {
    size_t length, next, limit = p->end, short_form = any_contraction(p->text + at, limit - at);
    if (short_form)
        return at + short_form;
    enum pieces_class class = class_at(p, at, &length);
    if (class == PIECES_LETTER)
        return run_end(p, at + length, limit, PIECES_LETTER);
    if (class == PIECES_NUMBER) {
        for (at += length; --digits > 0 && at < limit && class_at(p, at, &length) == PIECES_NUMBER;)
            at += length;
        return at;
    }
    size_t body = at + length;
    enum pieces_class second = body < limit ? class_at(p, body, &next) : PIECES_SPACE;
    if (second == PIECES_LETTER && !line_end(p->text[at]))
        return run_end(p, body + next, limit, PIECES_LETTER);
    if (class == PIECES_OTHER || (p->text[at] == ' ' && second == PIECES_OTHER)) {
        at = run_end(p, body, limit, PIECES_OTHER);
        while (at < limit && line_end(p->text[at]))
            at++;
        return at;
    }
    size_t last_line = 0;
    for (size_t i = at; i < limit && class_at(p, i, &next) == PIECES_SPACE; i += next)
        if (line_end(p->text[i]))
            last_line = i + 1;
    return last_line ? last_line : space_end(p, at, limit);
}

bool pieces_next(struct pieces *p, size_t *start, size_t *stop) {
    if (p->pos >= p->end)
        return false;
    *start = p->pos;
    if (p->kind >= PIECES_LLAMA3) {
        *stop = p->pos = llama3_end(p, p->pos, p->kind == PIECES_LLAMA3 ? 3 : 1);
        return true;
    }
    if (p->kind == PIECES_WHOLE) {
        *stop = p->pos = p->end;
        return true;
    }
    if (p->kind == PIECES_GPT2) {
        p->limit = p->end;
    } else if (p->limit <= p->pos) {
        size_t length;
        if (class_at(p, p->pos, &length) == PIECES_NUMBER) {
            *stop = p->pos += length;
            return true;
        }
        p->limit = p->pos;
        while (p->limit < p->end && class_at(p, p->limit, &length) != PIECES_NUMBER)
            p->limit += length;
    }
    *stop = p->pos = match_end(p, p->pos, p->limit);
    return true;
}
