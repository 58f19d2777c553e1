// AnyValue: values that are right, but for where the input says otherwise. Once
// it has come to its end all of them are.
#ifndef ACCRUE_TESTS_FUZZ_ANY_VALUE_H_
#define ACCRUE_TESTS_FUZZ_ANY_VALUE_H_

#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>

#include <fuzzer/FuzzedDataProvider.h>

namespace accrue::fuzz {

// Whether the input changes something here: now and then.
inline bool Changes(FuzzedDataProvider& in) {
  return in.ConsumeIntegral<uint8_t>() % 32 == 31;
}

// `right`; one of those on which rules turn; any double at all; one of [0, 1).
inline double AnyNumber(FuzzedDataProvider& in, double right) {
  constexpr double kTurns[] = {0,
                               -0.0,
                               1,
                               -1,
                               0.5,
                               0.9,
                               0.999,
                               1e-8,
                               0x1p-30,
                               0x1p-31,
                               1000,
                               1000.5,
                               0x1p-100,
                               0x1p-101,
                               0x1p100,
                               0x1p101,
                               0x1p-126,
                               0x1p-149,
                               0x1p63,
                               0x1p64,
                               0x1p127,
                               0x1p128,
                               1e308,
                               5e-324,
                               1e-300,
                               1 - 0x1p-24,
                               1 - 0x1p-25,
                               1 - 0x1p-53,
                               std::numeric_limits<double>::infinity(),
                               std::numeric_limits<double>::quiet_NaN()};
  switch (in.ConsumeIntegral<uint8_t>() % 32) {
    case 29:
      return kTurns[in.ConsumeIntegralInRange<size_t>(0,
                                                      std::size(kTurns) - 1)];
    case 30: {
      const auto bits = in.ConsumeIntegral<uint64_t>();
      double number;
      std::memcpy(&number, &bits, sizeof(number));
      return number;
    }
    case 31:
      return in.ConsumeIntegral<uint8_t>() / 256.0;
    default:
      return right;
  }
}

// `right`; any at all; one near it.
inline int64_t AnyInteger(FuzzedDataProvider& in, int64_t right) {
  switch (in.ConsumeIntegral<uint8_t>() % 32) {
    case 30:
      return in.ConsumeIntegral<int64_t>();
    case 31:
      return static_cast<int64_t>(static_cast<uint64_t>(right) +
                                  in.ConsumeIntegral<uint8_t>() - 128);
    default:
      return right;
  }
}

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_ANY_VALUE_H_
