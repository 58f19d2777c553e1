// Version: a publication's number within one unbroken history of a model.
//
// After a model was restored from a backup the numbers come again; only the
// lineage tells the two histories apart. Compare for equality, never by number
// alone.

#ifndef ACCRUE_CLIENT_VERSION_H_
#define ACCRUE_CLIENT_VERSION_H_

#include <cstdint>
#include <string>

namespace accrue::client {

struct Version {
  // The history's id: 32 hexadecimal digits.
  std::string lineage = {};
  // 0 at initialization, one more with each publication.
  int64_t number = 0;

  friend bool operator==(const Version& a, const Version& b) = default;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_VERSION_H_
