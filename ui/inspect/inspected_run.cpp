#include "ui/inspect/inspected_run.h"

namespace eyrie::ui {

QString InspectedRun::tokenText(std::int64_t position) const {
  if (position < 0 || position >= trace.size()) return {};
  const std::int32_t token = trace.token(position).token;
  if (token < 0) return {};
  if (!model || !model->tokenizer) return QStringLiteral("#%1").arg(token);
  return QString::fromStdString(model->tokenizer->display(token));
}

}  // namespace eyrie::ui
