#include "client/cpp/src/channel.h"

#include <utility>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "client/cpp/src/raw_call.h"
#include "client/cpp/src/retry.h"
#include "client/cpp/src/tls_check.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

// How long a daemon that was just spoken to may take to answer in TLS.
constexpr absl::Duration kTlsAnswer = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> Channel::GetConnection(
    absl::Time deadline) {
  {
    MutexLock lock(&mutex_);
    while (connecting_) {
      if (connected_.WaitWithDeadline(&mutex_, deadline) && connecting_) {
        return absl::UnavailableError(
            absl::StrCat("no daemon at ", target_.text(), ": still trying"));
      }
    }
    if (connection_ != nullptr && connection_->usable()) return connection_;
    connecting_ = true;
  }
  auto connection = Connection::Open(target_, options_, deadline);
  // Ends outside of the lock.
  std::shared_ptr<Connection> old;
  MutexLock lock(&mutex_);
  connecting_ = false;
  connected_.SignalAll();
  old = std::move(connection_);
  if (connection.ok()) {
    connection_ = *connection;
    has_connected_ = true;
  } else if (has_connected_ && absl::IsInvalidArgument(connection.status())) {
    return AsUnavailable(connection.status());
  }
  return connection;
}

absl::Status Channel::Call(const std::string& method,
                           const google::protobuf::Message& request,
                           google::protobuf::Message* response,
                           absl::Time deadline, MayRetry may_retry) {
  Retry retry(options_, deadline);
  absl::Status status;
  do {
    status = Attempt(method, request, response, deadline);
  } while (!status.ok() && may_retry(status) && retry.Wait(status));
  return Explain(std::move(status));
}

absl::Status Channel::Explain(absl::Status status) {
  {
    MutexLock lock(&mutex_);
    if (status.ok()) has_answered_ = true;
    if (!has_connected_ || has_answered_) return status;
  }
  if (uses_tls() || target_.is_unix() || !absl::IsUnavailable(status) ||
      !OutcomeUnknown(status) ||
      !SpeaksTls(target_, absl::Now() + kTlsAnswer)) {
    return status;
  }
  // It may be a proxy's doing and pass.
  return absl::UnavailableError(absl::StrCat(
      target_.text(), " speaks TLS, and this client does not ",
      "(ClientOptions::tls, accruectl --tls): ", status.message()));
}

absl::Status Channel::Attempt(const std::string& method,
                              const google::protobuf::Message& request,
                              google::protobuf::Message* response,
                              absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(const auto connection, GetConnection(deadline));
  RawCall call(connection, method, deadline);
  const grpc::Slice slice(request.SerializeAsString());
  call.Write(grpc::ByteBuffer(&slice, 1), /*last=*/true);
  grpc::ByteBuffer message;
  const bool answered = call.Read(&message);
  ACCRUE_RETURN_IF_ERROR(call.Finish());
  if (!answered) return CutShort();
  grpc::ProtoBufferReader reader(&message);
  if (!response->ParseFromZeroCopyStream(&reader)) {
    return absl::InternalError(
        absl::StrCat(method, ": the answer is not what the API says"));
  }
  return absl::OkStatus();
}

}  // namespace accrue::client::internal
