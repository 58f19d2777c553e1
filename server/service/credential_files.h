// CredentialFiles: --token_file and the files of --tls_*, followed while the
// daemon runs.
//
// They are looked at every second. What has changed, has not done so again by
// the next look, and is good, is in force from then on: tokens for calls that
// begin and streams that are open, certificates for connections that are made.
// What is not good is told in the log, once, and what was before stays.
//
// Order.     on the pool: no thread of gRPC reads a file
// Threading. compatible

#ifndef ACCRUE_SERVER_SERVICE_CREDENTIAL_FILES_H_
#define ACCRUE_SERVER_SERVICE_CREDENTIAL_FILES_H_

#include <memory>
#include <string>

#include <grpcpp/security/server_credentials.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/service/access.h"
#include "server/service/tls.h"
#include "server/service/tokens.h"

namespace accrue {

struct CredentialOptions {
  TlsOptions tls;
  std::string token_file;  // empty: no token is asked for
};

class CredentialFiles {
 public:
  // `access` outlives it.
  explicit CredentialFiles(Access* access) : access_(access) {}

  // The first look, whose errors are those of Tls and TokenFile.
  absl::Status Load(const CredentialOptions& options);
  // For the server, which this outlives; once, where there is TLS.
  std::shared_ptr<grpc::ServerCredentials> NewTlsCredentials() {
    return tls_->NewCredentials();
  }
  // Looks every second from now on. The timers have stopped, and the pool has
  // no work left, when this goes.
  void Follow(TimerQueue* timers, WorkPool* pool);

 private:
  // Of a kind of files: what was wrong with them at the last look.
  struct Trouble {
    const char* what;
    std::string error = {};
  };

  void LookLater(TimerQueue* timers, WorkPool* pool, WorkPool::Lane lane);
  void Look();
  // Whether there was anything new.
  absl::StatusOr<bool> ReloadTokens();
  absl::Status TakeTokens(const std::string& text);
  static void Tell(const absl::StatusOr<bool>& reloaded, Trouble& trouble);

  Access* const access_;
  std::string token_file_;
  // The hashes of the whole file: at the last look, and when it was last taken,
  // or refused.
  Sha256 tokens_seen_ = {}, tokens_judged_ = {};
  std::unique_ptr<Tls> tls_;
  Trouble token_trouble_ = {.what = "tokens"};
  Trouble tls_trouble_ = {.what = "certificates"};
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_CREDENTIAL_FILES_H_
