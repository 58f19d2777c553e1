#include "client/cpp/src/connection.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

// The largest HTTP/2 frame there is: fewer frame headers per megabyte.
constexpr int kMaxFrameBytes = 16777215;
constexpr int kTcpReadChunkBytes = 1 << 20;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

grpc::ChannelArguments Arguments(const Target& target,
                                 const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, target.authority());
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   Milliseconds(options.keepalive_time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   Milliseconds(options.keepalive_timeout));
  // Keepalive probes are sent however long a pull waits without data.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The probe would raise the windows without a bound.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES,
                   static_cast<int>(options.receive_window_bytes));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  arguments.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, kTcpReadChunkBytes);
  arguments.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 4 * kTcpReadChunkBytes);
  // A page of models with many tensors has no bound of its own, and the daemon
  // that the model is entrusted to is trusted with that, too.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return arguments;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> Connection::Open(
    const Target& target, const ClientOptions& options, absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(const int fd, target.Connect(deadline));
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) {
    const int error = errno;
    close(fd);
    return absl::UnavailableError(absl::StrCat("connection to ", target.text(),
                                               ": ", std::strerror(error)));
  }
  return std::shared_ptr<Connection>(new Connection(
      duplicate, grpc::CreateCustomInsecureChannelFromFd(
                     target.text(), fd, Arguments(target, options))));
}

Connection::Connection(int fd, std::shared_ptr<grpc::Channel> channel)
    : fd_(fd), channel_(std::move(channel)), stub_(channel_) {}

Connection::~Connection() { close(fd_); }

void Connection::Abort() {
  retired_ = true;
  shutdown(fd_, SHUT_RDWR);
}

bool Connection::usable() const {
  if (retired_) return false;
  pollfd entry = {fd_, POLLRDHUP, 0};
  return poll(&entry, 1, 0) == 0;
}

}  // namespace accrue::client::internal
