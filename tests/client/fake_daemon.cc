#include "tests/client/fake_daemon.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include "server/base/data_preface.h"
#include "tests/client/fake_services.h"

namespace accrue::client {
namespace {

constexpr char kLineage[] = "0123456789abcdef0123456789abcdef";

// A listening socket on a port of 127.0.0.1 that the system chooses.
int ListenTcp(std::string* target) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(fd, 64) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("fake daemon");
    std::abort();
  }
  *target = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  return fd;
}

int ListenUnix(const std::string& path, std::string* target) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  unlink(path.c_str());
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(fd, 64) != 0) {
    std::perror("fake daemon");
    std::abort();
  }
  *target = "unix:" + path;
  return fd;
}

}  // namespace

FakeDaemon::FakeDaemon(const Options& options)
    : options_(options),
      worker_service_(std::make_unique<Worker>(this)),
      model_service_(std::make_unique<Model>(this)),
      server_service_(std::make_unique<Server>(this)) {
  version_.set_lineage(kLineage);
  listener_ = options.unix_socket.empty()
                  ? ListenTcp(&target_)
                  : ListenUnix(options.unix_socket, &target_);
  grpc::ServerBuilder builder;
  builder.RegisterService(worker_service_.get());
  builder.RegisterService(model_service_.get());
  builder.RegisterService(server_service_.get());
  // What a real daemon allows its clients.
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // A window so large that a daemon that stops reading blocks the client's
  // transport, not its stream.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 256 << 20);
  builder.SetMaxReceiveMessageSize((4 << 20) + (64 << 10));
  server_ = builder.BuildAndStart();
  acceptor_ = std::thread([this] { Accept(); });
}

FakeDaemon::~FakeDaemon() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  StopListening();
  CutConnections();
  server_->Shutdown();
  server_->Wait();
  ForgetDataConnections();
  for (const int fd : forgotten_data_) close(fd);
}

void FakeDaemon::Accept() {
  while (true) {
    const int fd =
        accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    {
      const std::lock_guard lock(mutex_);
      connections_.push_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
      ++accepted_;
    }
    if (options_.data_connections && AdoptDataConnection(fd)) continue;
    grpc::AddInsecureChannelFromFd(server_.get(), fd);
  }
}

bool FakeDaemon::AdoptDataConnection(int fd) {
  // The SDK's connections speak first.
  pollfd entry = {fd, POLLIN, 0};
  poll(&entry, 1, -1);
  char first = 0;
  if (recv(fd, &first, 1, MSG_PEEK) != 1 || !BeginsDataPreface(first)) {
    return false;
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  std::string preface(kDataPrefaceSize, '\0');
  recv(fd, preface.data(), preface.size(), MSG_WAITALL);
  const auto id = ParseDataPreface(preface);
  const std::lock_guard lock(mutex_);
  ++data_accepted_;
  if (!id.has_value()) {
    close(fd);
    return true;
  }
  data_[*id] = fd;
  if (options_.swallows_prefaces) return true;
  send(fd, kDataPrefaceAnswer.data(), kDataPrefaceAnswer.size(), MSG_NOSIGNAL);
  return true;
}

bool FakeDaemon::ReadPayload(const v1::PushHeader& header,
                             std::string* payload) {
  int fd = -1;
  {
    const std::lock_guard lock(mutex_);
    const auto found = data_.find(header.data_connection());
    if (found == data_.end()) return false;
    fd = found->second;
  }
  std::string number(kPayloadNumberSize, '\0');
  if (recv(fd, number.data(), number.size(), MSG_WAITALL) !=
          std::ssize(number) ||
      ParsePayloadNumber(number) != header.data_payload()) {
    return false;
  }
  payload->resize(static_cast<size_t>(header.payload_bytes()));
  return recv(fd, payload->data(), payload->size(), MSG_WAITALL) ==
         static_cast<ssize_t>(payload->size());
}

int FakeDaemon::data_connections() const {
  const std::lock_guard lock(mutex_);
  return data_accepted_;
}

void FakeDaemon::CutDataConnections() {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, fd] : data_) shutdown(fd, SHUT_RDWR);
}

void FakeDaemon::ForgetDataConnections() {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, fd] : std::exchange(data_, {})) {
    forgotten_data_.push_back(fd);
  }
}

void FakeDaemon::CutConnections() {
  const std::lock_guard lock(mutex_);
  for (const int fd : connections_) {
    shutdown(fd, SHUT_RDWR);
    close(fd);
  }
  connections_.clear();
}

void FakeDaemon::StopListening() {
  if (!acceptor_.joinable()) return;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
}

int FakeDaemon::connections() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

void FakeDaemon::Script(const std::string& method, std::vector<Fate> fates) {
  const std::lock_guard lock(mutex_);
  script_[method].assign(fates.begin(), fates.end());
}

int FakeDaemon::calls(const std::string& method) const {
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(method);
  return found == calls_.end() ? 0 : found->second;
}

std::vector<std::string> FakeDaemon::openings() const {
  const std::lock_guard lock(mutex_);
  return openings_;
}

void FakeDaemon::AwaitCalls(const std::string& method, int n) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    const auto found = calls_.find(method);
    return found != calls_.end() && found->second >= n;
  });
}

Fate FakeDaemon::Next(const std::string& method) {
  const std::lock_guard lock(mutex_);
  ++calls_[method];
  changed_.notify_all();
  std::deque<Fate>& fates = script_[method];
  if (fates.empty()) return {};
  const Fate fate = fates.front();
  fates.pop_front();
  return fate;
}

bool FakeDaemon::Before(const Fate& fate, grpc::ServerContext* context,
                        grpc::Status* status) {
  switch (fate.kind) {
    case Fate::kServe:
    case Fate::kServeAndCut:
    case Fate::kServeForgetAndCut:
    case Fate::kServeAndHang:
    case Fate::kCutHalfWay:
      return false;
    case Fate::kPublishAndServe:
      Publish(parameters());
      return false;
    case Fate::kCut:
      CutConnections();
      return true;
    case Fate::kHang:
      Hang();
      return true;
    case Fate::kRefuse:
      *status = Error(fate.refusal, context);
      return true;
    case Fate::kPlainStatus:
      *status = grpc::Status(fate.refusal.code, "scripted, without a detail");
      return true;
  }
  return false;
}

void FakeDaemon::After(const Fate& fate) {
  if (fate.kind == Fate::kServeForgetAndCut) ForgetSessions();
  if (fate.kind == Fate::kServeAndCut ||
      fate.kind == Fate::kServeForgetAndCut) {
    CutConnections();
  }
  if (fate.kind == Fate::kServeAndHang) Hang();
}

grpc::Status FakeDaemon::Error(const Refusal& refusal,
                               grpc::ServerContext* context) const {
  v1::ErrorDetail detail;
  detail.set_reason(refusal.reason);
  detail.set_current_version(7);
  detail.set_lineage(kLineage);
  detail.set_subject("the subject");
  if (refusal.retry_after_ms > 0) {
    detail.mutable_retry_after()->set_nanos(refusal.retry_after_ms * 1'000'000);
  }
  context->AddTrailingMetadata("accrue-error-bin", detail.SerializeAsString());
  return grpc::Status(refusal.code, "scripted");
}

void FakeDaemon::Hang() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || hangs_end_; });
}

void FakeDaemon::EndHangs() {
  const std::lock_guard lock(mutex_);
  hangs_end_ = true;
  changed_.notify_all();
}

void FakeDaemon::ForgetFolded() {
  const std::lock_guard lock(mutex_);
  folded_.clear();
}

std::vector<FoldedPush> FakeDaemon::folded() const {
  const std::lock_guard lock(mutex_);
  return folded_;
}

void FakeDaemon::ForgetSessions() {
  const std::lock_guard lock(mutex_);
  sessions_.clear();
}

void FakeDaemon::ForgetModels() {
  const std::lock_guard lock(mutex_);
  models_.clear();
}

void FakeDaemon::BeginLineage() {
  const std::lock_guard lock(mutex_);
  sessions_.clear();
  version_.set_lineage(std::string(32, 'b'));
  version_.set_number(0);
}

void FakeDaemon::Publish(const std::string& parameters) {
  const std::lock_guard lock(mutex_);
  parameters_ = parameters;
  version_.set_number(version_.number() + 1);
  changed_.notify_all();
}

void FakeDaemon::CutPullsInto(std::vector<size_t> chunk_bytes) {
  const std::lock_guard lock(mutex_);
  cuts_ = std::move(chunk_bytes);
}

v1::Version FakeDaemon::version() const {
  const std::lock_guard lock(mutex_);
  return version_;
}

std::optional<v1::PullRequest> FakeDaemon::last_pull() const {
  const std::lock_guard lock(mutex_);
  return last_pull_;
}

std::optional<v1::InitializeModelHeader> FakeDaemon::initialized_by() const {
  const std::lock_guard lock(mutex_);
  return initialized_by_;
}

std::string FakeDaemon::parameters() const {
  const std::lock_guard lock(mutex_);
  return parameters_;
}

}  // namespace accrue::client
