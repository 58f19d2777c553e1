// Access: who calls, and whether they may.
//
// One interceptor sees every RPC that reaches the server, of whatever service:
// from the method's name (method_needs.h) and the call's bearer token it
// decides before the method's handler runs. gRPC gives an interceptor no way to
// keep a handler from running, so the two of them are a pair: the handlers of
// the API begin with Check, which tells them what was decided and, since only
// they know it, decides about the model. Other services' calls the interceptor
// ends itself.
//
//   no --token_file     whoever can connect (mutual TLS: whoever has a
//                       certificate) may call everything
//   with --token_file   "authorization: Bearer TOKEN"; else UNAUTHENTICATED.
//                       A role too small, or a model that the token's patterns
//                       leave out: PERMISSION_DENIED, whether or not there is
//                       such a model
//
// New tokens are for the calls that begin, and for the streams that are open:
// one that its token may not have any more is ended. Other calls go on. Such an
// end has no ErrorDetail, unlike a refusal: what the stream has sent may have
// been acted on, or still be.
//
// Of the streams of one peer, whatever its connections, there are at most
// --max_streams_per_peer: one more is RESOURCE_EXHAUSTED LIMIT. A peer is an
// address, or a user of this machine.
//
// Calls that need the admin's role, and calls that were refused, leave a line
// in the log (audit.h).
//
// Invariant. a method without an entry is refused, and so is a call that no
//            interceptor has seen
// Threading. safe

#ifndef ACCRUE_SERVER_SERVICE_ACCESS_H_
#define ACCRUE_SERVER_SERVICE_ACCESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_interceptor.h>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/base/mutex.h"
#include "server/service/audit.h"
#include "server/service/connections.h"
#include "server/service/tokens.h"

namespace accrue {

class Access {
 public:
  // `connections` outlives it. Without SetTokens no token is asked for.
  Access(const Connections* connections, int64_t max_streams_per_peer)
      : connections_(connections),
        max_streams_per_peer_(max_streams_per_peer) {}

  // From now on.
  void SetTokens(std::shared_ptr<const Tokens> tokens) ACCRUE_EXCLUDES(mutex_);

  // For the server's builder; this outlives the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
  NewInterceptorFactory();

  // Whether the call may go on, as far as `model` is concerned, if any is yet.
  absl::Status Check(const grpc::ServerContextBase* context,
                     std::optional<absl::string_view> model)
      ACCRUE_EXCLUDES(mutex_);

  // Of a call that has passed Check.
  std::shared_ptr<const Principal> Caller(
      const grpc::ServerContextBase* context) ACCRUE_EXCLUDES(mutex_);

 private:
  class Call;
  class Interceptor;
  class Factory;

  std::shared_ptr<Call> Begin(std::string method, bool streams,
                              grpc::ServerContextBase* context)
      ACCRUE_EXCLUDES(mutex_);
  // Counts a stream that may go on, unless there are too many.
  void CountStream(Call& call) ACCRUE_REQUIRES(mutex_);
  void End(const grpc::ServerContextBase* context, const Call* call)
      ACCRUE_EXCLUDES(mutex_);
  std::shared_ptr<Call> Find(const grpc::ServerContextBase* context)
      ACCRUE_EXCLUDES(mutex_);

  const Connections* const connections_;
  const int64_t max_streams_per_peer_;
  Audit audit_;
  Mutex mutex_;
  std::shared_ptr<const Tokens> tokens_ ACCRUE_GUARDED_BY(mutex_);
  absl::flat_hash_map<const grpc::ServerContextBase*, std::shared_ptr<Call>>
      calls_ ACCRUE_GUARDED_BY(mutex_);
  // By peer, less its port.
  absl::flat_hash_map<std::string, int64_t> streams_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_ACCESS_H_
