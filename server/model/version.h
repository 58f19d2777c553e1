// Version: a publication's number within one unbroken history of a model.
#ifndef ACCRUE_SERVER_MODEL_VERSION_H_
#define ACCRUE_SERVER_MODEL_VERSION_H_

#include <cstdint>
#include <string>

namespace accrue {

struct Version {
  std::string lineage;  // 32 hexadecimal digits; empty: no version
  int64_t number = 0;   // 0 at initialization
  bool operator==(const Version&) const = default;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_VERSION_H_
