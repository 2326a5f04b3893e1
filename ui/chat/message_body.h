// The words of one message: Markdown when read, tokens when inspected. One QTextDocument; as tall as its
// text.
#pragma once

#include <QTextBrowser>
#include <QTextCursor>
#include <QWheelEvent>
#include <memory>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "ui/chat/conversation.h"

class QTimer;

namespace eyrie::ui {

class MessageBody final : public QTextBrowser {
  Q_OBJECT
 public:
  explicit MessageBody(QWidget* parent = nullptr);

  // Words as they stream: plain text is appended, Markdown is parsed anew at most every 60 ms while the text
  // is short, and once at the end.
  void showText(const QString& text, bool streaming, bool markdown);
  // The words as tokens, tinted by surprisal. Falls back to plain text where tokens are unknown.
  void showTokens(const Turn& turn, const std::shared_ptr<const engine::Tokenizer>& tokenizer);
  // Outlined token, as an index into the turn's tokens; -1: none.
  void setSelectedToken(int index);
  void setHoveredToken(int index);
  // Tint per token in place of surprisal, each in [-1, 1]: blue … orange. Empty: surprisal.
  void setTints(std::vector<float> tints);
  bool showsTokens() const { return tokenMode_; }
  QRect tokenRect(int index) const;  // in this widget
  // Marks every place where `words` stand (whatever the case); empty: none. `current` stands out; -1: none.
  void setSearch(const QString& words);
  void setCurrentMatch(int current);
  int matchCount() const { return int(matches_.size()); }
  QRect matchRect(int index) const;  // in this widget

  QSize sizeHint() const override;

 signals:
  void tokenHovered(int index);  // -1: left
  void tokenClicked(int index);
  void matchesChanged();  // the words have changed, so have the places

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void changeEvent(QEvent* event) override;
  void wheelEvent(QWheelEvent* event) override { event->ignore(); }
  QVariant loadResource(int type, const QUrl& name) override;

 private:
  void render();
  void renderMarkdown();
  void appendPlain(const QString& delta);
  void fitHeight();
  void settleParents();
  int tokenAt(const QPoint& point) const;
  std::vector<QRectF> rectsOf(std::size_t index) const;
  QColor tintOf(std::size_t index) const;
  void paintTokens(QPainter& painter, const QRect& area);
  void findMatches();
  void markMatches();
  void applyFont();
  void restyle();

  QString text_;
  bool streaming_ = false;
  bool markdown_ = false;
  bool tokenMode_ = false;
  qsizetype shown_ = 0;  // characters of text_ in the document (plain)
  bool plain_ = true;    // what the document holds now
  QTimer* parse_;
  std::vector<int> ends_;    // end of each token in the document
  std::vector<float> bits_;  // surprisal; NaN unknown
  std::vector<float> tints_;
  int selected_ = -1;
  int hovered_ = -1;
  QPoint pressed_;
  QString search_;
  std::vector<QTextCursor> matches_;
  int match_ = -1;
};

}  // namespace eyrie::ui
