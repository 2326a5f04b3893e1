// The one selection every view shares: a token of the trace, a layer, what the pointer is over. GUI thread
// only.
#pragma once

#include <QObject>
#include <cstdint>

namespace eyrie::ui {

class Selection : public QObject {
  Q_OBJECT
 public:
  explicit Selection(QObject* parent = nullptr) : QObject(parent) {}

  std::int64_t token() const { return token_; }  // position in the trace; -1: follow the newest
  int recurrentLayer() const { return recurrentLayer_; }
  int attentionLayer() const { return attentionLayer_; }
  std::int64_t hovered() const { return hovered_; }  // -1: none

 public slots:
  void selectToken(std::int64_t position);
  void selectRecurrentLayer(int layerIdx);
  void selectAttentionLayer(int layerIdx);
  void hoverToken(std::int64_t position);

 signals:
  void changed();
  void hoverChanged();

 private:
  std::int64_t token_ = -1;
  std::int64_t hovered_ = -1;
  int recurrentLayer_ = -1;  // -1: the first there is
  int attentionLayer_ = -1;
};

}  // namespace eyrie::ui
