/* tokenizer.json of vocabularies that are the suite's own: the generated corpus's words, and bytes. */
#include "lib/base/json.h"
#include "lib/text/corpus.h"
#include "lib/text/tokenizer.h"
#include "lib/text/utf8.h"
#include "lib/text/vocab.h"

static fp4_status write_both(const char *folder, json_t *pre_tokenizer, json_t *decoder, json_t *model) {
    json_t *root = json_pack("{s:s,s:n,s:n,s:[],s:n,s:o,s:n,s:o,s:o}", "version", "1.0", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                             pre_tokenizer, "post_processor", "decoder", decoder, "model", model);
    fp4_status status = fp4_make_dirs(folder);
    if (status != FP4_OK) {
        json_decref(root);
        return status;
    }
    FP4_TRY(io_json_write(folder, "tokenizer.json", root, JSON_INDENT(1)));
    json_watch();
    root = json_pack("{s:s,s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0);
    return io_json_write(folder, "tokenizer_config.json", root, JSON_INDENT(2));
}

/* fp4_corpus_tokenize in two steps: blanks only separate; letters and digits are words as long as can be; of three newlines the first is alone; everything
 * else is a word of one character. A word that is not in the vocabulary is an error, since the unknown token is not in it either. */
fp4_status fp4_corpus_tokenizer_export(const struct fp4_corpus *c, const char *folder) {
    json_watch();
    json_t *vocab = json_object();
    for (size_t id = 0; id < fp4_corpus_vocab(c); id++) {
        const char *word = fp4_corpus_word(c, (int32_t)id);
        json_object_set_new(vocab, word + (*word == ' '), json_integer((json_int_t)id));
    }
    json_t *split = json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", "[A-Za-z0-9]+|\\n(?=\\n\\n)|\\n\\n|[^ ]", "behavior", "Removed", "invert", 1);
    json_t *blanks = json_pack("{s:s,s:[{s:s,s:{s:s},s:s},{s:s}]}", "type", "Sequence", "decoders", "type", "Replace", "pattern", "Regex", "^(?=[A-Za-z0-9])", "content", " ",
                               "type", "Fuse");
    return write_both(folder, split, blanks, json_pack("{s:s,s:o,s:s}", "type", "WordLevel", "vocab", vocab, "unk_token", "<unknown>"));
}

fp4_status fp4_byte_tokenizer_export(const char *folder) {
    json_watch();
    json_t *vocab = json_object();
    uint16_t letter[256];
    tokenizer_alphabet(letter);
    for (int byte = 0; byte < 256; byte++) {
        uint8_t text[4];
        json_object_setn_new(vocab, (const char *)text, utf8_put(letter[byte], text), json_integer(byte));
    }
    json_t *model = json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:[]}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                              "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges");
    return write_both(folder, vocab_pre_tokenizer("gpt-2"), json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1), model);
}
