// MethodNeeds: what a caller needs for each RPC that the daemon serves.
//
// Invariant. every RPC of the API's descriptors has an entry; one without is
//            nobody's to call, and the daemon does not start

#ifndef ACCRUE_SERVER_SERVICE_METHOD_NEEDS_H_
#define ACCRUE_SERVER_SERVICE_METHOD_NEEDS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace accrue {

// In this order each is more than the one before. From kPull on they are the
// roles.
enum class Need { kNothing, kAnyToken, kPull, kPush, kAdmin };

// Of "/package.Service/Method"; nullopt: it has no entry.
std::optional<Need> NeedOf(absl::string_view method);

// INTERNAL: an RPC of the API has no entry.
absl::Status CheckMethodNeeds();

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_METHOD_NEEDS_H_
