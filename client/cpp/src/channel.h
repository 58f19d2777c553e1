// Channel: what a Client and everything that it opened share: where the daemon
// is, the options, and the connection of the moment.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_CHANNEL_H_
#define ACCRUE_CLIENT_CPP_SRC_CHANNEL_H_

#include <memory>
#include <string>
#include <utility>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "client/cpp/src/connection.h"
#include "client/cpp/src/openings.h"
#include "client/cpp/src/status_from_grpc.h"
#include "client/cpp/src/target.h"
#include "server/base/mutex.h"

namespace accrue::client::internal {

class Channel {
 public:
  Channel(Target target, const ClientOptions& options)
      : target_(std::move(target)), options_(options) {}

  const ClientOptions& options() const { return options_; }
  const Target& target() const { return target_; }
  bool uses_tls() const { return Connection::UsesTls(target_, options_); }
  Openings& openings() { return openings_; }

  // The live connection, made anew where there is none.
  // UNAVAILABLE: nobody answers by the deadline; or our own files cannot be
  // used, which once could: they are being replaced. INVALID_ARGUMENT: they
  // never could.
  absl::StatusOr<std::shared_ptr<Connection>> GetConnection(
      absl::Time deadline);

  using MayRetry = bool (*)(const absl::Status&);

  // A unary call, attempted until it succeeds, fails for good or the deadline
  // comes. "/package.Service/Method".
  absl::Status Call(const std::string& method,
                    const google::protobuf::Message& request,
                    google::protobuf::Message* response, absl::Time deadline,
                    MayRetry may_retry = Retryable);

  // The same, with the deadline of calls that carry no parameters.
  absl::Status Call(const std::string& method,
                    const google::protobuf::Message& request,
                    google::protobuf::Message* response,
                    MayRetry may_retry = Retryable) {
    return Call(method, request, response, absl::Now() + options_.call_timeout,
                may_retry);
  }

 private:
  absl::Status Attempt(const std::string& method,
                       const google::protobuf::Message& request,
                       google::protobuf::Message* response,
                       absl::Time deadline);
  // With a reason that gRPC does not know: whoever is there speaks TLS alone.
  absl::Status Explain(absl::Status status);

  const Target target_;
  const ClientOptions options_;
  Openings openings_;

  Mutex mutex_;
  CondVar connected_;
  // One thread connects, without the mutex; the others wait, each for as long
  // as it has time.
  bool connecting_ ACCRUE_GUARDED_BY(mutex_) = false;
  bool has_connected_ ACCRUE_GUARDED_BY(mutex_) = false;
  bool has_answered_ ACCRUE_GUARDED_BY(mutex_) = false;  // a call, with OK
  std::shared_ptr<Connection> connection_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CHANNEL_H_
