/* tests/hub_support.h: what the suites of the hub share. */
#ifndef FP4LAB_TESTS_HUB_SUPPORT_H
#define FP4LAB_TESTS_HUB_SUPPORT_H

#include "tests/folders.h"
#include "tests/hub_server.h"

#define HUB_TOKEN_OF_TESTS "hf_secretOfTheTests"

/* No variable of the caller's reaches the hub's code; a token is set. */
void hub_environment(void);
/* A folder of its own as HF_HOME, and the server as HF_ENDPOINT. */
void hub_use_server(struct hub_server *s, char root[FOLDER_MAX]);
/* Every blob below HF_HOME has the hash that is its name, every link of a snapshot leads to a blob; without `parts` no
 * .incomplete is left, without `refs` no revision leads anywhere yet. */
void hub_check_cache(const char *root, bool parts, bool refs);
/* Whether a file in the snapshot has the contents that the server holds. */
bool hub_same_file(const char *folder, const char *repo, const char *name);

#endif
