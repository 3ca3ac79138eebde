/* The prepared prose: pins, documents, and what is said when something is missing or wrong. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fp4lab/text.h"
#include "tests/folders.h"
#include "tests/support.h"

/* Opens a named text, or skips the test where the asset cache has it not. For WikiText-2 data/ beside the golden folder is tried as well. */
static struct fp4_documents open_named(const char *name) {
    struct fp4_documents d;
    char beside[4096];
    const char *golden = golden_folder();
    if (golden && !getenv("FP4LAB_ASSETS_FROM")) {
        snprintf(beside, sizeof beside, "%s/../data", golden);
        setenv("FP4LAB_ASSETS_FROM", beside, 1);
    }
    fp4_status status = fp4_documents_open(name, &d);
    if (status == FP4_ERR_IO)
        skip_test(name, fp4_last_error());
    cr_assert_eq(status, FP4_OK, "%s", fp4_last_error());
    return d;
}

/* Offsets ascend, cover the text, and the text has its pin. */
static void check(const struct fp4_documents *d) {
    char hex[65];
    must(fp4_sha256_buffer(d->text, d->bytes, hex));
    cr_assert_str_eq(hex, d->sha256);
    cr_assert_str_eq(hex, fp4_documents_pin(d->name));
    cr_assert_eq(d->offset[0], 0);
    cr_assert_eq(d->offset[d->n], d->bytes);
    for (size_t i = 0; i < d->n; i++)
        cr_assert_lt(d->offset[i], d->offset[i + 1]);
    cr_assert_gt(strlen(d->source), 0);
    cr_assert_gt(strlen(d->licence), 0);
}

static bool begins(const struct fp4_documents *d, size_t i, const char *text) {
    return strncmp(d->text + d->offset[i], text, strlen(text)) == 0;
}

Test(prose, bible) {
    struct fp4_documents d = open_named("bible");
    check(&d);
    cr_assert_eq(d.bytes, 4137850);
    cr_assert_eq(d.n, 1189); /* chapters of the King James Version */
    cr_assert(begins(&d, 0, "In the beginning God created the heaven and the earth.\n"));
    cr_assert(begins(&d, 1, "Thus the heavens and the earth were finished,"));
    cr_assert(begins(&d, 50, "Now these are the names of the children of Israel,")); /* Genesis has 50 */
    size_t verses = 0;
    for (size_t i = 0; i < d.bytes; i++)
        verses += d.text[i] == '\n';
    cr_assert_eq(verses, 31102);
    fp4_documents_close(&d);
}

Test(prose, gcide) {
    struct fp4_documents d = open_named("gcide");
    size_t sentences = 0;
    check(&d);
    cr_assert_eq(d.bytes, 11084905);
    cr_assert_gt(d.n, 2500);
    for (size_t i = 0; i < d.n; i++) {
        /* Sentences of at least 48 bytes, one a line, plain ASCII; a blank line closes all documents but the last. */
        size_t stop = d.offset[i + 1] - (i + 1 < d.n);
        for (size_t at = d.offset[i]; at < stop;) {
            const char *newline = memchr(d.text + at, '\n', stop - at);
            cr_assert_not_null(newline);
            size_t end = (size_t)(newline - d.text);
            cr_assert_geq(end - at, 48);
            cr_assert_not_null(strchr(".?!\"", d.text[end - 1]));
            for (; at < end; at++)
                cr_assert(d.text[at] >= ' ' && d.text[at] < 127);
            at = end + 1;
            sentences++;
        }
    }
    cr_assert_gt(sentences, 100000);
    fp4_documents_close(&d);
}

Test(prose, wikitext2) {
    struct fp4_documents d = open_named("wikitext2");
    check(&d);
    cr_assert(begins(&d, 0, " \n = Robert Boulter = \n"));
    for (size_t i = 1; i < d.n; i++)
        cr_assert(begins(&d, i, " = ") && !begins(&d, i, " = = "));
    fprintf(stderr, "wikitext2: %zu articles\n", d.n);
    cr_assert_geq(d.n, 60);
    cr_assert_leq(d.n, 64);
    fp4_documents_close(&d);
}

/* ---- a cache of our own ---- */

static char folder[FOLDER_MAX];

static void write_asset(const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    must(fp4_write_file(path, text, strlen(text)));
}

static void own_cache(void) {
    folder_make(folder);
    setenv("FP4LAB_ASSETS", folder, 1);
    unsetenv("FP4LAB_ASSETS_FROM");
}

static void says(const char *part) {
    cr_assert_not_null(strstr(fp4_last_error(), part), "\"%s\" does not say \"%s\"", fp4_last_error(), part);
}

Test(prose, what_is_missing_is_named_with_the_way_out, .init = own_cache) {
    struct fp4_documents d;
    cr_assert_eq(fp4_documents_open("bible", &d), FP4_ERR_IO);
    says("bible-kjv.txt");
    says(folder);
    says("run ci/fetch");
    cr_assert_null(d.text);
    write_asset("missing.tsv", "wikitext2\twiki.test.raw\tput it there\nbible\tbible-kjv.txt\tapt-get install bible-kjv\n");
    cr_assert_eq(fp4_documents_open("bible", &d), FP4_ERR_IO);
    says("apt-get install bible-kjv");
    setenv("FP4LAB_ASSETS_FROM", "/nonexistent:", 1);
    cr_assert_eq(fp4_documents_open("gcide", &d), FP4_ERR_IO);
    says("/nonexistent");
    cr_assert_eq(fp4_documents_open("koran", &d), FP4_ERR_ARG);
    says("koran");
    says("wikitext2");
}

Test(prose, wrong_contents, .init = own_cache) {
    struct fp4_documents d;
    write_asset("bible-kjv.txt", "Ge1:1 In the beginning.\nGe1:2 And the earth.\nGe2:1 Thus.\n");
    cr_assert_eq(fp4_documents_open("bible", &d), FP4_ERR_FORMAT);
    says("wrong contents");
    says(fp4_documents_pin("bible"));
    write_asset("bible-kjv.txt", "In the beginning\n");
    cr_assert_eq(fp4_documents_open("bible", &d), FP4_ERR_FORMAT);
    says("no verse reference");
    write_asset("gcide-sentences.txt", "x");
    cr_assert_eq(fp4_documents_open("gcide", &d), FP4_ERR_FORMAT);
    write_asset("gcide-sentences.txt", "");
    cr_assert_eq(fp4_documents_open("gcide", &d), FP4_ERR_FORMAT);
    says("empty");
}

Test(prose, a_file_is_one_document, .init = own_cache) {
    struct fp4_documents d;
    char path[200];
    write_asset("notes.txt", "one\n\ntwo\n");
    snprintf(path, sizeof path, "%s/notes.txt", folder);
    must(fp4_documents_open(path, &d));
    cr_assert_eq(d.n, 1);
    cr_assert_eq(d.bytes, 9);
    cr_assert_str_eq(d.text, "one\n\ntwo\n");
    cr_assert_str_eq(d.name, "notes.txt");
    cr_assert_eq(d.offset[1], 9);
    cr_assert_null(fp4_documents_pin(d.name));
    fp4_documents_close(&d);
    cr_assert_eq(fp4_documents_open("/nonexistent/file", &d), FP4_ERR_IO);
    cr_assert_eq(fp4_documents_open(folder, &d), FP4_ERR_IO);
}

Test(prose, assets, .init = own_cache) {
    char path[200], small[10];
    write_asset("notes.txt", "x");
    must(fp4_asset_find("notes.txt", path, sizeof path));
    cr_assert_eq(strncmp(path, folder, strlen(folder)), 0);
    cr_assert_eq(fp4_asset_find("notes.txt", small, sizeof small), FP4_ERR_IO); /* no room for the path: not a cut one */
    cr_assert_eq(fp4_asset_find("../etc/passwd", path, sizeof path), FP4_ERR_ARG);
    /* Found in a named folder when the cache has it not, and the cache goes first. */
    char from[300];
    snprintf(from, sizeof from, "/nonexistent:%s", folder);
    setenv("FP4LAB_ASSETS_FROM", from, 1);
    setenv("FP4LAB_ASSETS", "/nonexistent-cache", 1);
    must(fp4_asset_find("notes.txt", path, sizeof path));
    unsetenv("FP4LAB_ASSETS");
    unsetenv("HOME");
    unsetenv("FP4LAB_ASSETS_FROM");
    cr_assert_eq(fp4_asset_find("notes.txt", path, sizeof path), FP4_ERR_IO);
    says("neither is set");
}
