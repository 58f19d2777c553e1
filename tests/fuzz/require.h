// Require: what must hold whatever the input is. Where it does not, the process
// ends, and libFuzzer keeps the input.
#ifndef ACCRUE_TESTS_FUZZ_REQUIRE_H_
#define ACCRUE_TESTS_FUZZ_REQUIRE_H_

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"

namespace accrue::fuzz {

// `sentence`: what is true when it holds.
inline void Require(bool holds, const char* sentence) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", sentence);
  std::abort();
}

inline void Require(const absl::Status& status, const char* sentence) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  Require(false, sentence);
}

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_REQUIRE_H_
