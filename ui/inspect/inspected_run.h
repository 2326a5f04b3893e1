// What the inspector, the timeline and the token views show: one model's trace of the conversation in view.
// GUI thread only; owned by the app, shared with views by pointer.
#pragma once

#include <QObject>
#include <QString>
#include <memory>

#include "engine/events.h"
#include "engine/trace.h"

namespace eyrie::ui {

class InspectedRun : public QObject {
  Q_OBJECT
 public:
  explicit InspectedRun(QObject* parent = nullptr) : QObject(parent) {}

  std::shared_ptr<const engine::ModelInfo> model;  // null: no model yet
  engine::Trace trace;
  // Which hue the model has (LOOK.md): Griffin teal, Hawk coral.
  bool isHawk = false;

  QString tokenText(std::int64_t position) const;  // display form; "" if unknown

 signals:
  void modelChanged();
  void traceChanged();  // at most once per GUI tick
};

}  // namespace eyrie::ui
