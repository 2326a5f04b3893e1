#include "engine/token_stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace eyrie::engine {
namespace {

constexpr std::size_t kBlockBytes = 1U << 16U;
// A character cut off at the end of what was read may yet make a place to cut.
constexpr std::size_t kLongestCharacter = 4;

}  // namespace

std::optional<std::int32_t> ListStream::next() {
  if (at_ == tokens_.size()) return std::nullopt;
  return tokens_[at_++];
}

TextStream::TextStream(std::unique_ptr<std::istream> text, std::string name,
                       std::shared_ptr<const Tokenizer> tokenizer, std::int32_t bos, std::size_t maxUncut)
    : text_(std::move(text)),
      name_(std::move(name)),
      tokenizer_(std::move(tokenizer)),
      maxUncut_(maxUncut),
      tokens_{bos} {}

std::optional<std::int32_t> TextStream::next() {
  while (at_ == tokens_.size() && !ended_) refill();
  if (at_ == tokens_.size()) return std::nullopt;
  return tokens_[at_++];
}

void TextStream::readBlock() {
  const std::size_t before = pending_.size();
  pending_.resize(before + kBlockBytes);
  text_->read(pending_.data() + before, static_cast<std::streamsize>(kBlockBytes));
  const auto got = static_cast<std::size_t>(text_->gcount());
  pending_.resize(before + got);
  bytesRead_ += got;
  if (text_->bad()) throw Error(ErrorCode::ioFailed, fmt::format("{}: reading failed", name_));
  ended_ = !*text_;
}

void TextStream::refill() {
  std::size_t cut = 0;
  while (cut == 0 && !ended_) {
    readBlock();
    if (ended_) break;
    cut = tokenizer_->lastCut(pending_, searched_);
    searched_ = pending_.size() - std::min(pending_.size(), kLongestCharacter);
    if (cut == 0 && pending_.size() > maxUncut_) {
      throw Error(
          ErrorCode::badFile,
          fmt::format("{}: expected within {} bytes a place where the tokenizer can begin anew, found none",
                      name_, maxUncut_));
    }
  }
  if (ended_) cut = pending_.size();
  tokens_ = tokenizer_->encode(std::string_view(pending_).substr(0, cut));
  at_ = 0;
  pending_.erase(0, cut);
  searched_ = 0;
}

TokenWindow::TokenWindow(TokenStream& stream, std::int64_t rows)
    : stream_(stream), rows_(static_cast<std::size_t>(rows)) {
  fill();
}

void TokenWindow::fill() {
  while (tokens_.size() <= rows_) {
    const std::optional<std::int32_t> token = stream_.next();
    if (!token) return;
    tokens_.push_back(*token);
  }
}

std::span<const std::int32_t> TokenWindow::chunk() const {
  return std::span(tokens_).first(std::min(rows_, tokens_.size()));
}

std::int32_t TokenWindow::following() const {
  return tokens_.size() > rows_ ? tokens_[rows_] : -1;
}

void TokenWindow::drop() {
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(chunk().size()));
  fill();
}

}  // namespace eyrie::engine
