// Deliveries of the neurons that spike, for the CPU: the loops of _rows.py and _delayed.py.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

template <typename T, typename Visit>
static void ForEachEvent(const T* x, int64_t count, Visit visit) {
  constexpr int64_t kBlock = 16;
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    int any = 0;
    for (int64_t k = 0; k < kBlock; ++k) any |= x[i + k] != 0;
    if (any)
      for (int64_t k = 0; k < kBlock; ++k)
        if (x[i + k] != 0) visit(i + k);
  }
  for (; i < count; ++i)
    if (x[i] != 0) visit(i);
}

template <ffi::DataType D>
static ffi::Error Deliver(ffi::Buffer<D> x, ffi::Buffer<ffi::S32> starts, ffi::Buffer<ffi::S32> targets,
                          ffi::Buffer<D> weight, ffi::ResultBuffer<D> out, bool graded) {
  using T = ffi::NativeType<D>;
  const int64_t batch = x.dimensions()[0], num_in = x.dimensions()[1], num_out = out->dimensions()[1];
  const T* w = weight.typed_data();
  const bool single = weight.element_count() == 1;
  const int32_t *first = starts.typed_data(), *target = targets.typed_data();
  std::memset(out->typed_data(), 0, sizeof(T) * batch * num_out);
  for (int64_t b = 0; b < batch; ++b) {
    const T* row = x.typed_data() + b * num_in;
    T* to = out->typed_data() + b * num_out;
    ForEachEvent(row, num_in, [&](int64_t i) {
      const T scale = graded ? row[i] : T(1);
      if (single) {
        const T value = scale * w[0];
        for (int32_t k = first[i]; k < first[i + 1]; ++k) to[target[k]] += value;
      } else {
        for (int32_t k = first[i]; k < first[i + 1]; ++k) to[target[k]] += scale * w[k];
      }
    });
  }
  return ffi::Error::Success();
}

// `lag` is in whole steps, or in any, which are divided between the two slots around them.
template <ffi::DataType D, ffi::DataType L>
static ffi::Error DeliverLate(ffi::Buffer<D> x, ffi::Buffer<ffi::S32> starts, ffi::Buffer<ffi::S32> targets,
                              ffi::Buffer<D> weight, ffi::Buffer<L> lag, ffi::Buffer<D> ring, ffi::Buffer<ffi::S32> slot,
                              ffi::ResultBuffer<D> out, bool graded) {
  using T = ffi::NativeType<D>;
  const int64_t length = ring.dimensions()[0], batch = ring.dimensions()[1], num_out = ring.dimensions()[2];
  const int64_t num_in = x.dimensions()[1], now = slot.typed_data()[0];
  const T* w = weight.typed_data();
  const auto* late = lag.typed_data();
  const int64_t one_weight = weight.element_count() != 1, one_lag = lag.element_count() != 1;
  const int32_t *first = starts.typed_data(), *target = targets.typed_data();
  T* to = out->typed_data();
  if (to != ring.typed_data()) std::memcpy(to, ring.typed_data(), sizeof(T) * ring.element_count());
  auto add = [&](int64_t steps, int64_t b, int32_t j, T value) {
    int64_t at = now + steps;
    if (at >= length) at -= length;
    to[(at * batch + b) * num_out + j] += value;
  };
  for (int64_t b = 0; b < batch; ++b) {
    const T* row = x.typed_data() + b * num_in;
    ForEachEvent(row, num_in, [&](int64_t i) {
      const T scale = graded ? row[i] : T(1);
      for (int64_t k = first[i]; k < first[i + 1]; ++k) {
        const T value = scale * w[k * one_weight];
        if constexpr (L == ffi::S32) {
          add(late[k * one_lag], b, target[k], value);
        } else {
          const T steps = late[k * one_lag], whole = std::floor(steps);
          const int64_t before = int64_t(whole);
          add(before, b, target[k], value * (1 - (steps - whole)));
          add(std::min(before + 1, length - 1), b, target[k], value * (steps - whole));
        }
      }
    });
  }
  return ffi::Error::Success();
}

#define DELIVER(name, D)                                                                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, Deliver<D>,                                                     \
                                ffi::Ffi::Bind()                                                      \
                                    .Arg<ffi::Buffer<D>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                     \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                     \
                                    .Arg<ffi::Buffer<D>>()                                            \
                                    .Ret<ffi::Buffer<D>>()                                            \
                                    .Attr<bool>("graded"))
#define DELIVER_LATE(name, D, L)                                                                      \
  static ffi::Error name##Impl(ffi::Buffer<D> x, ffi::Buffer<ffi::S32> starts,                        \
                               ffi::Buffer<ffi::S32> targets, ffi::Buffer<D> weight, ffi::Buffer<L> lag, \
                               ffi::Buffer<D> ring, ffi::Buffer<ffi::S32> slot, ffi::ResultBuffer<D> out, \
                               bool graded) {                                                         \
    return DeliverLate<D, L>(x, starts, targets, weight, lag, ring, slot, out, graded);               \
  }                                                                                                   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, name##Impl,                                                     \
                                ffi::Ffi::Bind()                                                      \
                                    .Arg<ffi::Buffer<D>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                     \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                     \
                                    .Arg<ffi::Buffer<D>>()                                            \
                                    .Arg<ffi::Buffer<L>>()                                            \
                                    .Arg<ffi::Buffer<D>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                     \
                                    .Ret<ffi::Buffer<D>>()                                            \
                                    .Attr<bool>("graded"))

DELIVER(deliver_f32, ffi::F32);
DELIVER(deliver_f64, ffi::F64);
DELIVER_LATE(deliver_late_f32_s32, ffi::F32, ffi::S32);
DELIVER_LATE(deliver_late_f64_s32, ffi::F64, ffi::S32);
DELIVER_LATE(deliver_late_f32_f32, ffi::F32, ffi::F32);
DELIVER_LATE(deliver_late_f64_f64, ffi::F64, ffi::F64);
