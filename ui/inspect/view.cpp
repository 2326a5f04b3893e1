#include "ui/inspect/view.h"

#include "ui/inspect/views.h"

namespace eyrie::ui {

QString viewName(ViewKind kind) {
  switch (kind) {
    case ViewKind::gates:
      return QCoreApplication::translate("eyrie::ui::View", "Gates at a token");
    case ViewKind::layerOverTime:
      return QCoreApplication::translate("eyrie::ui::View", "Layer over time");
    case ViewKind::attention:
      return QCoreApplication::translate("eyrie::ui::View", "Attention");
    case ViewKind::norms:
      return QCoreApplication::translate("eyrie::ui::View", "State norms");
    case ViewKind::horizon:
      return QCoreApplication::translate("eyrie::ui::View", "Memory horizon");
    case ViewKind::share:
      return QCoreApplication::translate("eyrie::ui::View", "Share of past tokens");
  }
  return {};
}

const char* viewKey(ViewKind kind) {
  constexpr const char* kKeys[kViewKinds] = {"gates", "time", "attention", "norms", "horizon", "share"};
  return kKeys[static_cast<int>(kind)];
}

std::unique_ptr<View> makeView(ViewKind kind) {
  switch (kind) {
    case ViewKind::gates:
      return std::make_unique<GatesView>();
    case ViewKind::layerOverTime:
      return std::make_unique<LayerOverTimeView>();
    case ViewKind::attention:
      return std::make_unique<AttentionView>();
    case ViewKind::norms:
      return std::make_unique<NormsView>();
    case ViewKind::horizon:
      return std::make_unique<HorizonView>();
    case ViewKind::share:
      return std::make_unique<ShareView>();
  }
  return nullptr;
}

}  // namespace eyrie::ui
