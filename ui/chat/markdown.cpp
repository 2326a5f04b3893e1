#include "ui/chat/markdown.h"

#include <md4c-html.h>
#include <md4c.h>

#include <QByteArray>
#include <QRegularExpression>

namespace eyrie::ui {

namespace {

void collect(const MD_CHAR* text, MD_SIZE size, void* out) {
  static_cast<QByteArray*>(out)->append(text, qsizetype(size));
}

}  // namespace

QString markdownToHtml(const QString& markdown) {
  const QByteArray utf8 = markdown.toUtf8();
  QByteArray html;
  html.reserve(utf8.size() * 5 / 4);
  const unsigned flags = MD_DIALECT_GITHUB | MD_FLAG_NOHTML;
  if (md_html(utf8.constData(), MD_SIZE(utf8.size()), collect, &html, flags, 0) != 0) {
    return QStringLiteral("<p>%1</p>").arg(markdown.toHtmlEscaped());
  }
  QString result = QString::fromUtf8(html);
  if (result.contains(QLatin1String("<img "))) {
    // A picture would make the program fetch what a model asks for: keep its words only.
    static const QRegularExpression image(QStringLiteral("<img [^>]*?alt=\"([^\"]*)\"[^>]*>"));
    result.replace(image, QStringLiteral("[\\1]"));
    static const QRegularExpression bare(QStringLiteral("<img [^>]*>"));
    result.remove(bare);
  }
  return result;
}

}  // namespace eyrie::ui
