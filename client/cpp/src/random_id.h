// RandomId: 128 random bits, as 32 lowercase hex digits, that nobody can guess.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_RANDOM_ID_H_
#define ACCRUE_CLIENT_CPP_SRC_RANDOM_ID_H_

#include <string>

namespace accrue::client::internal {

std::string RandomId();

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_RANDOM_ID_H_
