// TokenFile: --token_file, a YAML list of who may call:
//
//   - name: trainer            # for errors and the audit log
//     sha256: 9f86d081884c...  # of the token, 64 hexadecimal digits; or
//     token: ...               # the token itself, 16 characters at least
//     role: push               # pull, push or admin
//     models: ["mnist-*"]      # globs; without this key, all models
//
// Invariant. no error quotes a token
// Errors.    FAILED_PRECONDITION: the file cannot be read, or others than its
//            owner may; INVALID_ARGUMENT: what it says cannot be

#ifndef ACCRUE_SERVER_SERVICE_TOKEN_FILE_H_
#define ACCRUE_SERVER_SERVICE_TOKEN_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/service/tokens.h"

namespace accrue {

// The whole file, if its owner alone may read and write it.
absl::StatusOr<std::string> ReadTokenFile(const std::string& path);

absl::StatusOr<Tokens> ParseTokens(const std::string& yaml);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_TOKEN_FILE_H_
