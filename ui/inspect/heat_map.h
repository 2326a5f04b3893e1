// Channels × tokens of one layer as an image that grows at its right edge: columns already coloured are kept,
// and shifted when the view travels; a column of several tokens and a row of several channels show the
// largest.
#pragma once

#include <QImage>
#include <vector>

#include "ui/inspect/run_data.h"
#include "ui/plot/axis.h"
#include "ui/timeline/time_range.h"

namespace eyrie::ui {

struct HeatMapRequest {
  int layerIdx = 0;
  GateQuantity quantity = GateQuantity::halfLife;
  bool sorted = true;
  bool dark = false;
  Scale scale;
  TimeSpan time;
  int width = 0;   // most columns
  int height = 0;  // most rows
};

class HeatMap {
 public:
  // The picture of tokens imageFirst() … imageFirst() + columns · perColumn().
  const QImage& update(const InspectedRun& run, const HeatMapRequest& request);
  std::int64_t imageFirst() const { return first_; }
  std::int64_t perColumn() const { return perColumn_; }
  const std::vector<int>& order() const { return order_; }     // channel at each row of data; empty: unknown
  std::int64_t columnsDrawn() const { return columnsDrawn_; }  // since construction, for tests

 private:
  bool keeps(const InspectedRun& run, const HeatMapRequest& request, std::int64_t first,
             std::int64_t perColumn, QSize size) const;
  // Tokens of the picture, before its tail, whose frames were not there.
  std::int64_t framesMissing(const InspectedRun& run) const;
  void reorder(const InspectedRun& run, const HeatMapRequest& request);
  void shift(std::int64_t columns);
  void drawColumn(const InspectedRun& run, int x);

  QImage image_;
  HeatMapRequest request_;
  const InspectedRun* run_ = nullptr;
  std::int64_t first_ = 0;
  std::int64_t perColumn_ = 1;
  std::int64_t drawnTo_ = 0;        // tokens before it are in the picture
  std::int64_t framesMissing_ = 0;  // when the picture was drawn
  std::int32_t anchorToken_ = -1;
  float anchorLogprob_ = 0;
  std::vector<int> order_;
  std::int64_t orderedAt_ = 0;  // recorded tokens when the order was made
  std::int64_t columnsDrawn_ = 0;
};

}  // namespace eyrie::ui
