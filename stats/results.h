/* stats/results.h: results files (experiments/SCHEMA.md), read with suspicion: they may come from strangers.
 *
 * Limits: 1 GiB a file, 16 MiB a line, 32 levels of nesting, no key of an object twice. Every line must be of schema 1 and whole; a last
 * line without its newline is what a killed run leaves: it is left out and counted. The key of each trial is recomputed and must be
 * the one that stands there, and no key may appear twice in all that is loaded. */
#ifndef FP4LAB_STATS_RESULTS_H
#define FP4LAB_STATS_RESULTS_H

#include <jansson.h>

#include "fp4lab/base.h"

enum { RESULTS_SCHEMA = 1, RESULTS_MAX_DEPTH = 32 };

struct results {
    json_t *trials;    /* array of trial objects, in the order of files and lines */
    json_t *manifests; /* array of manifest objects, in the same order */
    json_t *origins;   /* for each trial the file that it came from */
    size_t files, torn; /* files read; last lines left out because a killed run tore them */
};

/* paths: files, or folders whose *.jsonl are read in the order of their names. A folder without any is an error.
 * FP4_ERR_IO / FP4_ERR_FORMAT: "file:line: fault; way out". On an error nothing is held. */
fp4_status results_load(const char *const *paths, size_t n_paths, struct results *out);
void results_free(struct results *r);
/* The file that a trial of r came from; "results" when that is not known. */
const char *results_origin(const struct results *r, const json_t *trial);

/* The text that determines a trial's outcome: canonical JSON (sorted keys, no blanks, 17 digits) of {experiment, model, arm, item,
 * seed, replicate, config}, taken from any object that has them; and its SHA-256, the trial's key. */
fp4_status results_key(json_t *trial, char hex[65]);
/* Canonical JSON of a value; *text is malloc'ed, free() it. */
fp4_status results_canonical(json_t *value, char **text);

/* SHA-256 over the sorted canonical trial lines without "time" and "machine", each ended by a newline: equal for equal results in any order and
 * any number of files. Manifests do not count. */
fp4_status results_digest(const struct results *r, char hex[65]);

/* One pass over the lines of a file for whoever continues it: calls `line` with each whole line's object (borrowed). *whole (may be NULL): bytes
 * up to and including the last newline. A missing file is FP4_OK with *whole = 0. */
typedef fp4_status (*results_line)(void *context, json_t *object);
/* The same of bytes; `path` stands for the file in messages. */
fp4_status results_parse(const char *path, const void *bytes, size_t size, results_line line, void *context, size_t *whole);
fp4_status results_walk(const char *path, results_line line, void *context, size_t *whole);

#endif
