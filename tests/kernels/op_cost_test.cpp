#include "kernels/op_cost.h"

#include <QTest>

using namespace eyrie::kernels;

class OpCostTest : public QObject {
  Q_OBJECT

 private slots:
  void linearCountsWeightsOnceAndTwoFlopsAProduct();
  void attentionCountsVisiblePairs();
  void tapsCostTheirBytes();
  void complexStatesCostTheirTwoParts();
  void blocksCostTheirInputsAndOutputs();
};

void OpCostTest::linearCountsWeightsOnceAndTwoFlopsAProduct() {
  const LinearArgs args{nullptr, {nullptr, DType::bf16, 30, 20}, nullptr, 4, nullptr};
  QCOMPARE(opCost(args).flops, 2.0 * 4 * 30 * 20);
  QCOMPARE(opCost(args).bytes, 30.0 * 20 * 2 + 4 * 4 * (30 + 20));
}

void OpCostTest::attentionCountsVisiblePairs() {
  AttentionArgs args;
  args.firstPosition = 6;  // sees 7, 8, 9, 9 keys with 8 older ones
  args.older = 8;
  args.T = 4;
  args.H = 2;
  args.kvHeads = 1;
  args.Dh = 16;
  QCOMPARE(opCost(args).flops, 4.0 * (7 + 8 + 9 + 9) * 2 * 16);
  QCOMPARE(opCost(args).bytes, 4.0 * (2 * 4 * 2 * 16 + 2 * (6 + 4) * 16));
}

void OpCostTest::tapsCostTheirBytes() {
  RgLruArgs args;
  args.T = 10;
  args.R = 8;
  const double without = opCost(args).bytes;
  float tap = 0;
  args.taps.decay = &tap;
  QCOMPARE(opCost(args).bytes - without, 4.0 * 10 * 8);
}

void OpCostTest::complexStatesCostTheirTwoParts() {
  ComplexRgLruArgs args;
  args.T = 10;
  args.C = 8;
  const double without = opCost(args).bytes;
  QCOMPARE(without,
           4.0 * (10 * 8 * 6 + 6 * 8));  // gates 2, input 2, output 2; rates 2, state read and written 4
  float tap = 0;
  args.taps.angle = &tap;
  args.taps.keep = &tap;
  QCOMPARE(opCost(args).bytes - without, 4.0 * 10 * 8 * 3);
}

void OpCostTest::blocksCostTheirInputsAndOutputs() {
  const BlockLinearArgs args{nullptr, {nullptr, DType::bf16, 3 * 8, 4}, nullptr, 5, 3, 8, nullptr};
  QCOMPARE(opCost(args).flops, 2.0 * 5 * 3 * 8 * 4);
  QCOMPARE(opCost(args).bytes, 2.0 * 3 * 8 * 4 + 4.0 * 5 * 3 * (8 + 4));
}

QTEST_APPLESS_MAIN(OpCostTest)
#include "op_cost_test.moc"
