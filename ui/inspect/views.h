// The six panels of the inspector.
#pragma once

#include <QCoreApplication>
#include <optional>

#include "ui/inspect/heat_map.h"
#include "ui/inspect/series_cache.h"
#include "ui/inspect/view.h"

namespace eyrie::ui {

// "Channel 37 of layer 3: r 0.41, i 0.87, a 0.9926, half-life 93 tokens".
QString channelReadOut(const InspectedRun& run, int layerIdx, int channel, std::int64_t token);

class GatesView final : public View {
  Q_DECLARE_TR_FUNCTIONS(eyrie::ui::GatesView)
 public:
  DrawList prepare(const ViewInput& input) override;

 private:
  void title(DrawList& list, const ViewInput& input, std::int64_t token) const;
  void row(DrawList& list, const ViewInput& input, const QRectF& bar, int layerIdx, std::int64_t token,
           std::uint32_t slot, bool labelled) const;
};

class LayerOverTimeView final : public View {
  Q_DECLARE_TR_FUNCTIONS(eyrie::ui::LayerOverTimeView)
 public:
  DrawList prepare(const ViewInput& input) override;

 private:
  void plot(DrawList& list, const ViewInput& input, int layerIdx, const QRectF& area);

  HeatMap map_;
};

class AttentionView final : public View {
  Q_DECLARE_TR_FUNCTIONS(eyrie::ui::AttentionView)
 public:
  DrawList prepare(const ViewInput& input) override;

 private:
  void weights(DrawList& list, const ViewInput& input, const QRectF& area, int layerIdx, std::int64_t token,
               std::span<const float> values) const;
  void labels(DrawList& list, const ViewInput& input, const QRectF& rows, int layerIdx,
              std::int64_t span) const;
  void summary(DrawList& list, const ViewInput& input, const QRectF& area, int layerIdx,
               std::int64_t token) const;
};

class NormsView final : public View {
  Q_DECLARE_TR_FUNCTIONS(eyrie::ui::NormsView)
 public:
  DrawList prepare(const ViewInput& input) override;

 private:
  void lines(DrawList& list, const ViewInput& input, const QRectF& plot, const std::vector<int>& layers,
             const Scale& scale);
  Region region(const ViewInput& input, const QRectF& plot, const std::vector<int>& layers) const;

  SeriesCache series_;
};

class HorizonView final : public View {
  Q_DECLARE_TR_FUNCTIONS(eyrie::ui::HorizonView)
 public:
  DrawList prepare(const ViewInput& input) override;

 private:
  void row(DrawList& list, const ViewInput& input, const QRectF& area, int layerIdx, std::int64_t token,
           const Scale& scale) const;
};

class ShareView final : public View {
  Q_DECLARE_TR_FUNCTIONS(eyrie::ui::ShareView)
 public:
  DrawList prepare(const ViewInput& input) override;

 private:
  void bars(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t token,
            std::int64_t edge) const;
  void legend(DrawList& list, const ViewInput& input, const QRectF& plot, std::int64_t token,
              std::int64_t edge) const;
  Region region(const ViewInput& input, const QRectF& plot, int layerIdx, std::int64_t token) const;
  QString update(const ViewInput& input, int layerIdx, std::int64_t token);

  std::vector<float> shares_;
};

// What each token 0 … token wrote into the layer's state and is still there: the sum over channels of
// |prod of decays · write|, as a share of the sum over all tokens. Empty where the full trace has gaps.
std::vector<float> stateShares(const InspectedRun& run, int layerIdx, std::int64_t token);

}  // namespace eyrie::ui
