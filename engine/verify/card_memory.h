// Arguments of ops that exist twice: on the host, for the reference, and on the card.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/verify/test_models.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/packed_rows.h"
#include "kernels/cuda/runtime.h"
#include "kernels/tensor_view.h"

namespace eyrie::engine::verify {

using Values = std::vector<float>;

template <class T>
struct Twin {
  T* host = nullptr;
  T* card = nullptr;
  std::int64_t count = 0;
};

struct MatrixTwin {
  kernels::MatrixView host;
  kernels::MatrixView card;
};

struct PackedTwin {
  kernels::MatrixView host;
  kernels::cuda::PackedRows card;
};

// Owns what it hands out, all of it filled when the call returns. Random numbers repeat after 65,536.
class CardMemory {
 public:
  explicit CardMemory(std::uint64_t seed) : random_(seed) {}

  template <class T>
  Twin<T> put(std::vector<T> values) {
    auto host = std::make_shared<std::vector<T>>(std::move(values));
    T* const card = reinterpret_cast<T*>(upload(host->data(), host->size() * sizeof(T)));
    kept_.push_back(host);
    return {host->data(), card, std::ssize(*host)};
  }
  Twin<float> normals(std::int64_t n, float scale = 1.0F);
  // Decay rates of half-lives from a few tokens to thousands.
  Twin<float> decayRates(std::int64_t n);
  // Full of NaN, on both sides.
  Twin<float> room(std::int64_t n);
  // Rows of small numbers in their stored type.
  MatrixTwin matrix(std::int64_t rows, std::int64_t cols, kernels::DType dtype);
  PackedTwin packed(std::int64_t rows, std::int64_t cols, kernels::DType dtype);
  std::byte* bytes(std::int64_t n);  // on the card alone, as they are
  // Null where there is no cuBLAS.
  kernels::cuda::Blas* blas();

  TestRandom& random() { return random_; }

 private:
  std::byte* upload(const void* from, std::size_t bytes);

  TestRandom random_;
  kernels::cuda::OwnedStream stream_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<kernels::cuda::DeviceMemory> onCard_;
  std::unique_ptr<kernels::cuda::Blas> blas_;
  bool blasAsked_ = false;
};

// What lies there now.
Values readCard(const float* from, std::int64_t n);

}  // namespace eyrie::engine::verify
