// Credentials: what ClientOptions say about being let in, read from their
// files.
//
// Errors.    INVALID_ARGUMENT: a file cannot be read, or holds nothing such

#ifndef ACCRUE_CLIENT_CPP_SRC_CREDENTIALS_H_
#define ACCRUE_CLIENT_CPP_SRC_CREDENTIALS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "accrue/client.h"

namespace accrue::client::internal {

// The contents of the files.
struct TlsPems {
  std::string ca;
  std::string cert;
  std::string key;
};

absl::StatusOr<TlsPems> ReadPems(const TlsOptions& tls);

// "Bearer TOKEN", or empty if there is no token.
absl::StatusOr<std::string> Authorization(const ClientOptions& options);

// Options that contradict each other.
absl::Status CheckCredentials(const ClientOptions& options);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CREDENTIALS_H_
