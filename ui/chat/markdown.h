// Markdown of a message as HTML for QTextDocument. HTML in the text stays text; images are never loaded.
#pragma once

#include <QString>

namespace eyrie::ui {

QString markdownToHtml(const QString& markdown);

}  // namespace eyrie::ui
