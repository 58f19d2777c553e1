#include "client/cpp/src/connection.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "client/cpp/src/credentials.h"
#include "client/cpp/src/tls_check.h"
#include "server/base/local_socket.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

// The largest HTTP/2 frame there is: fewer frame headers per megabyte.
constexpr int kMaxFrameBytes = 16777215;
constexpr int kTcpReadChunkBytes = 1 << 20;
// gRPC 1.51 leaks the list of what it read a handshake into if that has more
// than eight entries, of 64 KiB each.
constexpr int kTlsReadChunkBytes = 512 << 10;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

grpc::ChannelArguments Arguments(const ClientOptions& options,
                                 int read_chunk_bytes) {
  grpc::ChannelArguments arguments;
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
  arguments.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, read_chunk_bytes);
  arguments.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 4 * kTcpReadChunkBytes);
  // A page of models with many tensors has no bound of its own, and the daemon
  // that the model is entrusted to is trusted with that, too.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return arguments;
}

bool IsLocal(int fd) {
  sockaddr_storage peer = {};
  socklen_t size = sizeof(peer);
  return getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
         IsLocalPeer(peer);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> Connection::Open(
    const Target& target, const ClientOptions& options, absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(std::string authorization, Authorization(options));
  return (UsesTls(target, options) ? OpenTls : OpenPlain)(
      target, options, std::move(authorization), deadline);
}

absl::StatusOr<std::shared_ptr<Connection>> Connection::OpenPlain(
    const Target& target, const ClientOptions& options,
    std::string authorization, absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(const int fd, target.Connect(deadline));
  // Decided on who was reached, whatever the name stands for.
  if (!authorization.empty() && !IsLocal(fd)) {
    close(fd);
    return absl::InvalidArgumentError(
        absl::StrCat("the token is not sent to ", target.text(),
                     ", another machine, without TLS"));
  }
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) {
    const int error = errno;
    close(fd);
    return absl::UnavailableError(absl::StrCat("connection to ", target.text(),
                                               ": ", std::strerror(error)));
  }
  grpc::ChannelArguments arguments = Arguments(options, kTcpReadChunkBytes);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, target.authority());
  return std::shared_ptr<Connection>(new Connection(
      duplicate,
      grpc::CreateCustomInsecureChannelFromFd(target.text(), fd, arguments),
      options, std::move(authorization)));
}

absl::StatusOr<std::shared_ptr<Connection>> Connection::OpenTls(
    const Target& target, const ClientOptions& options,
    std::string authorization, absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(const TlsPems pems, ReadPems(*options.tls));
  grpc::ChannelArguments arguments = Arguments(options, kTlsReadChunkBytes);
  // A connection of its own: gRPC shares those that look alike.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  auto channel = grpc::CreateCustomChannel(
      absl::StrCat("dns:///", target.text()),
      grpc::SslCredentials({.pem_root_certs = pems.ca,
                            .pem_private_key = pems.key,
                            .pem_cert_chain = pems.cert}),
      arguments);
  grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY) {
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE ||
        !channel->WaitForStateChange(state, absl::ToChronoTime(deadline))) {
      return WhyNoTls(target, *options.tls, pems, deadline);
    }
    state = channel->GetState(/*try_to_connect=*/true);
  }
  return std::shared_ptr<Connection>(new Connection(
      -1, std::move(channel), options, std::move(authorization)));
}

Connection::Connection(int fd, std::shared_ptr<grpc::Channel> channel,
                       const ClientOptions& options, std::string authorization)
    : fd_(fd),
      channel_(std::move(channel)),
      options_(options),
      authorization_(std::move(authorization)),
      stub_(channel_) {}

Connection::~Connection() {
  if (fd_ >= 0) close(fd_);
}

bool Connection::authorization_is_old() const {
  const auto now = Authorization(options_);
  return now.ok() && *now != authorization_;
}

void Connection::Abort() {
  retired_ = true;
  if (fd_ >= 0) shutdown(fd_, SHUT_RDWR);
}

bool Connection::usable() const {
  if (retired_) return false;
  if (fd_ < 0) {
    return channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  }
  pollfd entry = {fd_, POLLRDHUP, 0};
  return poll(&entry, 1, 0) == 0;
}

}  // namespace accrue::client::internal
