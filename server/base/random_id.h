// RandomId: a fresh 128-bit id from the kernel, as 32 lowercase hex digits.
//
// Threading. safe

#ifndef ACCRUE_SERVER_BASE_RANDOM_ID_H_
#define ACCRUE_SERVER_BASE_RANDOM_ID_H_

#include <string>

namespace accrue {

std::string RandomId();

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_RANDOM_ID_H_
