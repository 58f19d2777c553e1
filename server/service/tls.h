// Tls: the certificate that the daemon shows on TCP, and the CA whose
// certificates clients have to show, if any; from PEM files, and followed when
// they change.
//
// Handshakes are gRPC's. Each takes the newest files that were found good; a
// connection keeps what it was made with.
//
// Errors.    FAILED_PRECONDITION: a file cannot be read; INVALID_ARGUMENT: what
//            it has is no certificate or key, or weaker than OpenSSL's security
//            level allows, or the two do not belong together. What was in use
//            before stays
// Threading. safe

#ifndef ACCRUE_SERVER_SERVICE_TLS_H_
#define ACCRUE_SERVER_SERVICE_TLS_H_

#include <memory>
#include <string>

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"

namespace accrue {

struct TlsOptions {
  std::string cert;       // --tls_cert: the chain, the daemon's own first
  std::string key;        // --tls_key: without a passphrase
  std::string client_ca;  // --tls_client_ca; empty: clients need none

  bool enabled() const {
    return !cert.empty() || !key.empty() || !client_ca.empty();
  }
};

// What the files hold.
struct TlsPems {
  std::string cert;
  std::string key;
  std::string client_ca;
  bool operator==(const TlsPems&) const = default;
};

class Tls {
 public:
  static absl::StatusOr<std::unique_ptr<Tls>> Load(const TlsOptions& options);

  // Looks at the files again. True: what they hold is new, was there at the
  // last look too (a file may be being written), and is in force. An error of
  // what they hold comes once, until they hold something else.
  absl::StatusOr<bool> Reload() ACCRUE_EXCLUDES(mutex_);

  // For the server, which this outlives; once.
  std::shared_ptr<grpc::ServerCredentials> NewCredentials();

 private:
  explicit Tls(const TlsOptions& options) : options_(options) {}

  absl::Status Take(TlsPems pems) ACCRUE_REQUIRES(mutex_);

  // gRPC's question before every handshake.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config);

  const TlsOptions options_;
  Mutex mutex_;
  TlsPems seen_ ACCRUE_GUARDED_BY(mutex_);    // at the last look
  TlsPems judged_ ACCRUE_GUARDED_BY(mutex_);  // good or not
  TlsPems good_ ACCRUE_GUARDED_BY(mutex_);
  bool fetched_ ACCRUE_GUARDED_BY(mutex_) = false;  // gRPC has good_
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_TLS_H_
