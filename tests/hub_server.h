/* tests/hub_server.h: a model hub on loopback, with a second port as its content network, that misbehaves in one way at a time. It holds
 *
 *   org/tiny     config.json, tokenizer.json, model.safetensors (an LFS file, redirected to the content network), README.md, a pickle
 *   org/sharded  config.json, an index, model-0000{1,2}-of-00002.safetensors, extra/part.txt
 *   org/odd      an index that names weights-a.safetensors, which the usual pattern does not find
 *   org/torn     an index that names a file the repository lacks
 *   org/real     config.json and a model.safetensors of one tensor
 *   org/bare     model.safetensors alone
 *   org/ggufs    a.gguf, b.gguf                  org/gguf  only.gguf                  org/pickle  config.json and pytorch_model.bin */
#ifndef FP4LAB_TESTS_HUB_SERVER_H
#define FP4LAB_TESTS_HUB_SERVER_H

#include "fp4lab/base.h"

enum hub_fault {
    HUB_FINE, HUB_PLAIN_LISTING, HUB_401, HUB_403_GATED, HUB_GATED_FILES, HUB_RENAMED, HUB_404_REPO, HUB_404_REVISION, HUB_404_FILE, HUB_429_ONCE, HUB_429_LONG, HUB_503_ONCE, HUB_503, HUB_418,
    HUB_503_CONTENT_ONCE, HUB_CUT, HUB_CUT_NO_RANGE, HUB_CUT_WRONG_RANGE, HUB_CUT_WRONG_TOTAL, HUB_WRONG_RANGE, HUB_WRONG_SHA256, HUB_WRONG_SHA1, HUB_SHORT_ONCE,
    HUB_SHORT, HUB_ENDLESS, HUB_OTHER_LENGTH, HUB_STALL, HUB_STALL_FIRST, HUB_REDIRECT_LOOP, HUB_REDIRECT_FILE, HUB_REDIRECT_PASSWORD, HUB_NAME_UP, HUB_NAME_ABSOLUTE,
    HUB_NAME_CONTROL, HUB_NAME_TURNED, HUB_NAME_ZERO, HUB_NAME_TWICE, HUB_MANY_FILES, HUB_NOT_JSON, HUB_DEEP_JSON, HUB_HUGE_JSON, HUB_MANY_VALUES, HUB_PART_OF_LIST, HUB_HEADERS, HUB_BAD_COMMIT, HUB_OTHER_COMMIT, HUB_BAD_ETAG, HUB_OTHER_ETAG,
    HUB_NO_SIZE, HUB_HUGE_SIZE, HUB_SLOW
};

struct hub_server;
/* Listens, or fails the test. */
struct hub_server *hub_server_start(enum hub_fault fault);
/* Same, the hub with TLS (the content network without): its certificate, signed by itself, is written to the file. */
struct hub_server *hub_server_start_tls(enum hub_fault fault, const char *certificate);
void hub_server_stop(struct hub_server *s);
/* "http://127.0.0.1:PORT" of the hub. */
const char *hub_server_endpoint(const struct hub_server *s);
/* Requests so far whose "METHOD PATH" holds `part`; those of them with a token, on the hub or (content) on the content network. */
size_t hub_server_count(struct hub_server *s, const char *part);
size_t hub_server_tokens(struct hub_server *s, bool content);
/* Value of Range in the last request that had one, "" for none. */
void hub_server_last_range(struct hub_server *s, char out[64]);
/* Bytes of a file's contents that were sent. */
uint64_t hub_server_sent(struct hub_server *s);
/* Later requests see this fault instead. */
void hub_server_set(struct hub_server *s, enum hub_fault fault);
/* Contents and commit as they are served. */
const uint8_t *hub_server_file(const char *repo, const char *name, size_t *bytes);
extern const char hub_server_commit[41];

#endif
