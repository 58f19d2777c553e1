// Numbers as people read them in tables.

#ifndef ACCRUE_CLIENT_CTL_FORMAT_H_
#define ACCRUE_CLIENT_CTL_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace accrue::ctl {

// "0 B", "1023 B", "1.0 KiB", "1.9 MiB", "117 GiB": three digits at most.
std::string HumanBytes(int64_t bytes);

// "1,234,567".
std::string HumanCount(int64_t count);

// "now", "42 s", "3 min", "5 h", "2 d": whole units, rounded down.
std::string HumanAge(absl::Duration age);

// Up to six significant digits: "0.001", "1e-08", "2.30259".
std::string HumanReal(double value);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_FORMAT_H_
