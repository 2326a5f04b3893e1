// Tokens one after another: of a text of any length in little memory, or of a list.
#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace eyrie::engine {

class TokenStream {
 public:
  virtual ~TokenStream() = default;
  // Nothing at the end.
  virtual std::optional<std::int32_t> next() = 0;
  // Of the text, up to where it is read; 0 for a list.
  virtual std::uint64_t bytesRead() const { return 0; }
};

class ListStream final : public TokenStream {
 public:
  // textBytes: of the text they were made of.
  explicit ListStream(std::vector<std::int32_t> tokens, std::uint64_t textBytes = 0)
      : tokens_(std::move(tokens)), textBytes_(textBytes) {}
  std::optional<std::int32_t> next() override;
  std::uint64_t bytesRead() const override { return textBytes_; }

 private:
  std::vector<std::int32_t> tokens_;
  std::size_t at_ = 0;
  std::uint64_t textBytes_;
};

// Longest part of a text that is held at once.
inline constexpr std::size_t kMaxUncutBytes = 128U << 20U;

// BOS, then exactly the tokens that Tokenizer::encode gives for the whole text. Where the tokenizer knows no
// place to cut, the text is read whole. next() throws Error(badFile) for more than `maxUncut` bytes without
// such a place, Error(ioFailed) where reading fails; `name` is the text's in messages.
class TextStream final : public TokenStream {
 public:
  TextStream(std::unique_ptr<std::istream> text, std::string name, std::shared_ptr<const Tokenizer> tokenizer,
             std::int32_t bos, std::size_t maxUncut = kMaxUncutBytes);
  std::optional<std::int32_t> next() override;
  std::uint64_t bytesRead() const override { return bytesRead_; }

 private:
  void readBlock();
  void refill();

  std::unique_ptr<std::istream> text_;
  std::string name_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::size_t maxUncut_;
  std::string pending_;               // read, not yet encoded
  std::size_t searched_ = 0;          // no cut up to here in pending_
  std::vector<std::int32_t> tokens_;  // encoded, given out up to at_
  std::size_t at_ = 0;
  std::uint64_t bytesRead_ = 0;
  bool ended_ = false;
};

// The next tokens of a stream, and the one behind them.
class TokenWindow {
 public:
  TokenWindow(TokenStream& stream, std::int64_t rows);
  // At most `rows` tokens; none at the end. Valid until drop().
  std::span<const std::int32_t> chunk() const;
  // The token after the chunk, -1 where the stream ends.
  std::int32_t following() const;
  void drop();  // goes on to the next chunk

 private:
  void fill();

  TokenStream& stream_;
  std::size_t rows_;
  std::vector<std::int32_t> tokens_;
};

}  // namespace eyrie::engine
