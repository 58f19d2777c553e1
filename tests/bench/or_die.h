// OrDie: ends accrue_bench with an error that leaves nothing to measure.
#ifndef ACCRUE_TESTS_BENCH_OR_DIE_H_
#define ACCRUE_TESTS_BENCH_OR_DIE_H_

#include <cstdlib>
#include <iostream>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace accrue::bench {

inline void OrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "accrue_bench: " << status << "\n";
  std::exit(1);
}

template <class T>
T OrDie(absl::StatusOr<T> value) {
  OrDie(value.status());
  return *std::move(value);
}

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_OR_DIE_H_
