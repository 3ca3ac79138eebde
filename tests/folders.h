/* tests/folders.h: temporary folders, and Python when there is one. */
#ifndef FP4LAB_TESTS_FOLDERS_H
#define FP4LAB_TESTS_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>

enum { FOLDER_MAX = 64 };
/* A new folder below /tmp, or below another. It goes with all that is in it when the process that made it exits: that of one test, whether it passes,
 * fails or is skipped. */
void folder_make(char path[FOLDER_MAX]);
void folder_make_below(const char *parent, char path[FOLDER_MAX]);
/* Removes all that is in it. */
void folder_empty(const char *path);
/* folder/name, in a static buffer, one for each of the last 8 calls. */
const char *folder_file(const char *folder, const char *name);
bool files_equal(const char *a, const char *b);

/* Standard output of $FP4LAB_PYTHON (python3 without it) with tests/python/SCRIPT and these arguments, ended by NULL; free() it. Skips the test as
 * `what` when there is no Python or when the script says (exit 77) that a package is missing; fails it when the script fails. */
char *python_output(const char *what, const char *script, const char *const *arguments);

#endif
