// CUDA's built-in functions, as far as kernels/cuda uses them, with their meaning on fibres.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "tests/cuda_emulator/scheduler.h"

// ---- barriers ----

inline void __syncthreads(eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  eyrie::emulator::barrier(eyrie::emulator::Scope::block, where);
}

// ---- warps ----

namespace eyrie::emulator {

template <class T>
struct Shuffle {
  T value;
  unsigned source;
  T result;
};

template <class T>
T shuffle(unsigned mask, T value, unsigned source, Where where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  Shuffle<T> mine{value, source, value};
  meet(
      mask, &mine,
      [](unsigned all, const LanePointers& lanes) {
        for (unsigned lane = 0; lane < 32; ++lane) {
          if ((all >> lane & 1U) == 0) continue;
          auto& reader = *static_cast<Shuffle<T>*>(lanes[lane]);
          if ((all >> reader.source & 1U) == 0)
            fail("shuffle: lane " + std::to_string(lane) + " reads lane " + std::to_string(reader.source) +
                 ", which takes no part");
          reader.result = static_cast<Shuffle<T>*>(lanes[reader.source])->value;
        }
      },
      where);
  return mine.result;
}

// The lane `width`-wide segments let a lane read: itself where `source` leaves the segment.
inline unsigned within(unsigned source, unsigned width, bool inSegment) {
  return inSegment && source / width == laneId() / width ? source : laneId();
}

}  // namespace eyrie::emulator

inline void __syncwarp(unsigned mask = 0xffffffffU,
                       eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  char nothing = 0;
  eyrie::emulator::meet(
      mask, &nothing, [](unsigned, const eyrie::emulator::LanePointers&) {}, where);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  const unsigned segment = eyrie::emulator::laneId() / unsigned(width) * unsigned(width);
  return eyrie::emulator::shuffle(mask, value, segment + unsigned(source) % unsigned(width), where);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int laneMask, int width = 32,
                  eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  const unsigned source = eyrie::emulator::laneId() ^ unsigned(laneMask);
  return eyrie::emulator::shuffle(mask, value, eyrie::emulator::within(source, unsigned(width), source < 32),
                                  where);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  const unsigned source = eyrie::emulator::laneId() + delta;
  return eyrie::emulator::shuffle(mask, value, eyrie::emulator::within(source, unsigned(width), source < 32),
                                  where);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  const unsigned lane = eyrie::emulator::laneId();
  return eyrie::emulator::shuffle(
      mask, value, eyrie::emulator::within(lane - delta, unsigned(width), lane >= delta), where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  struct Vote {
    bool yes;
    unsigned all;
  } mine{predicate != 0, 0};
  eyrie::emulator::meet(
      mask, &mine,
      [](unsigned all, const eyrie::emulator::LanePointers& lanes) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < 32; ++lane)
          if ((all >> lane & 1U) != 0 && static_cast<Vote*>(lanes[lane])->yes) votes |= 1U << lane;
        for (unsigned lane = 0; lane < 32; ++lane)
          if ((all >> lane & 1U) != 0) static_cast<Vote*>(lanes[lane])->all = votes;
      },
      where);
  return mine.all;
}

inline int __any_sync(unsigned mask, int predicate,
                      eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  return __ballot_sync(mask, predicate, where) != 0 ? 1 : 0;
}

inline int __all_sync(unsigned mask, int predicate,
                      eyrie::emulator::Where where = eyrie::emulator::Where::current()) {
  return __ballot_sync(mask, predicate, where) == mask ? 1 : 0;
}

// ---- atomics: control changes hands nowhere in them ----

template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to = before + value;
  return before;
}
template <class T>
T atomicMax(T* to, T value) {
  const T before = *to;
  if (value > before) *to = value;
  return before;
}
template <class T>
T atomicExch(T* to, T value) {
  const T before = *to;
  *to = value;
  return before;
}
template <class T>
T atomicCAS(T* to, T expected, T value) {
  const T before = *to;
  if (before == expected) *to = value;
  return before;
}
inline void __threadfence() {}

// ---- bits and integers ----

inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline int __popc(unsigned value) {
  return std::popcount(value);
}
inline int __ffs(int value) {
  return value == 0 ? 0 : std::countr_zero(unsigned(value)) + 1;
}
template <class T>
T __ldg(const T* from) {
  return *from;
}
// c plus the dot product of four signed bytes.
inline int __dp4a(int a, int b, int c) {
  for (int byte = 0; byte < 4; ++byte)
    c += static_cast<signed char>(a >> 8 * byte) * static_cast<signed char>(b >> 8 * byte);
  return c;
}
