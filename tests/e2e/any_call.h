// AnyCall: a call of any RPC, in bytes, with any metadata, for tests that have
// no stub of it or must not care which it is.

#ifndef ACCRUE_TESTS_E2E_ANY_CALL_H_
#define ACCRUE_TESTS_E2E_ANY_CALL_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "tests/e2e/wire.h"

namespace accrue {

using Metadata = std::vector<std::pair<std::string, std::string>>;

// Metadata that carries a bearer token.
Metadata Bearer(const std::string& token);

// Sends one message and no more, and reads one. A stream that goes on after
// that has ended with OK.
Ending CallAny(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& method, const std::string& request,
               const Metadata& metadata);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_ANY_CALL_H_
