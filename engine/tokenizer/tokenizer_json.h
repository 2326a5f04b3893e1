// Hugging Face's tokenizer.json: BPE with byte fallback, as it is made from a SentencePiece model such as
// Gemma's. It is turned back into that model, so that both files of one tokenizer give the same tokens. Files
// whose merges SentencePiece would do otherwise are refused, not approximated.
#pragma once

#include <string>
#include <string_view>

#include "engine/tokenizer/spm_proto.h"

namespace eyrie::engine {

// Pieces in order of their ids, checked as parseSpmModel's are. added_tokens that are special become control
// pieces, the others user-defined ones. Throws Error(badTokenizer, badFile, unsupported) naming `file`, the
// field, what was expected and what was found.
SpmModel parseTokenizerJson(std::string_view text, const std::string& file);

// Makes control pieces of what tokenizer_config.json calls special: added_tokens_decoder, bos_token and its
// like, additional_special_tokens. Throws as above, also where it names another token for an id.
void applyTokenizerConfig(SpmModel& model, std::string_view text, const std::string& file);

}  // namespace eyrie::engine
