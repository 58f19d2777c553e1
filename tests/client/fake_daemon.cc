#include "tests/client/fake_daemon.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

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

class FakeDaemon::Worker : public v1::WorkerService::Service {
 public:
  explicit Worker(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status OpenSession(grpc::ServerContext* context,
                           const v1::OpenSessionRequest* request,
                           v1::OpenSessionResponse* response) override {
    const Fate fate = daemon_.Next("OpenSession");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    {
      const std::lock_guard lock(daemon_.mutex_);
      std::string id = request->session_id();
      if (!id.empty() && daemon_.sessions_.count(id) == 0) {
        return daemon_.Error({grpc::StatusCode::NOT_FOUND,
                              v1::ErrorDetail::REASON_SESSION_UNKNOWN},
                             context);
      }
      if (id.empty()) {
        id = std::to_string(++daemon_.opened_);
        id.insert(0, 32 - id.size(), '0');
        daemon_.sessions_[id].worker = request->worker();
      }
      const Session& session = daemon_.sessions_[id];
      response->set_session_id(id);
      response->set_last_sequence(session.last_sequence);
      if (session.last_sequence > 0) {
        *response->mutable_last_response() = session.last_response;
      }
      *response->mutable_version() = daemon_.version_;
    }
    daemon_.After(fate);
    return grpc::Status::OK;
  }

  grpc::Status Push(grpc::ServerContext* context,
                    grpc::ServerReader<v1::PushRequest>* reader,
                    v1::PushResponse* response) override {
    const Fate fate = daemon_.Next("Push");
    grpc::Status status;
    v1::PushRequest request;
    FoldedPush push;
    if (fate.kind == Fate::kCutHalfWay) {
      reader->Read(&request);
      daemon_.CutConnections();
      return grpc::Status::OK;
    }
    if (daemon_.Before(fate, context, &status)) return status;
    while (reader->Read(&request)) {
      if (request.has_header()) push.header = request.header();
      push.payload += request.chunk();
      push.chunk_bytes.push_back(request.chunk().size());
    }
    const int64_t want = push.header.payload_bytes();
    if (static_cast<int64_t>(push.payload.size()) != want) {
      return daemon_.Error(
          {grpc::StatusCode::INVALID_ARGUMENT, v1::ErrorDetail::REASON_PARTIAL},
          context);
    }
    status = Fold(std::move(push), context, response);
    daemon_.After(fate);
    return status;
  }

  grpc::Status Pull(grpc::ServerContext* context,
                    const v1::PullRequest* request,
                    grpc::ServerWriter<v1::PullResponse>* writer) override {
    const Fate fate = daemon_.Next("Pull");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    std::unique_lock lock(daemon_.mutex_);
    daemon_.last_pull_ = *request;
    const auto same = [&] {
      return request->have().lineage() == daemon_.version_.lineage() &&
             request->have().number() == daemon_.version_.number();
    };
    daemon_.changed_.wait_for(
        lock,
        std::chrono::nanoseconds(request->wait().seconds() * 1'000'000'000 +
                                 request->wait().nanos()),
        [&] { return !same(); });
    v1::PullResponse response;
    *response.mutable_header()->mutable_version() = daemon_.version_;
    response.mutable_header()->set_unchanged(same());
    const std::string bytes = same() ? "" : daemon_.parameters_;
    response.mutable_header()->set_payload_bytes(bytes.size());
    const std::vector<size_t> cuts = daemon_.cuts_;
    lock.unlock();
    if (cuts.empty() || bytes.empty()) {
      response.set_chunk(bytes);
      writer->Write(response);
    } else {
      // The header alone, then chunks of the sizes asked for.
      writer->Write(response);
      size_t start = 0;
      for (size_t i = 0; start < bytes.size(); ++i) {
        const size_t size = cuts[i % cuts.size()];
        response.Clear();
        response.set_chunk(bytes.substr(start, size));
        writer->Write(response);
        start += size;
        if (fate.kind == Fate::kCutHalfWay) {
          daemon_.CutConnections();
          return grpc::Status::OK;
        }
      }
    }
    daemon_.After(fate);
    return grpc::Status::OK;
  }

  grpc::Status Watch(grpc::ServerContext* context,
                     const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::WatchResponse>* writer) override {
    const Fate fate = daemon_.Next("Watch");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    std::unique_lock lock(daemon_.mutex_);
    int64_t sent = -1;
    while (true) {
      // Woken by publications and the end; a watcher that has gone is noticed
      // at the next of them.
      daemon_.changed_.wait(lock, [&] {
        return daemon_.stopping_ || daemon_.version_.number() != sent;
      });
      if (daemon_.stopping_) return grpc::Status::OK;
      sent = daemon_.version_.number();
      v1::WatchResponse response;
      *response.mutable_version() = daemon_.version_;
      response.add_changed_groups(request->model());
      response.set_changed_bytes(daemon_.parameters_.size());
      lock.unlock();
      if (!writer->Write(response)) return grpc::Status::OK;
      lock.lock();
    }
  }

  grpc::Status CloseSession(grpc::ServerContext* context,
                            const v1::CloseSessionRequest* request,
                            v1::CloseSessionResponse*) override {
    const Fate fate = daemon_.Next("CloseSession");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    const std::lock_guard lock(daemon_.mutex_);
    daemon_.sessions_.erase(request->session_id());
    return grpc::Status::OK;
  }

 private:
  grpc::Status Fold(FoldedPush push, grpc::ServerContext* context,
                    v1::PushResponse* response) {
    const std::lock_guard lock(daemon_.mutex_);
    const auto found = daemon_.sessions_.find(push.header.session_id());
    if (found == daemon_.sessions_.end()) {
      return daemon_.Error({grpc::StatusCode::NOT_FOUND,
                            v1::ErrorDetail::REASON_SESSION_UNKNOWN},
                           context);
    }
    Session& session = found->second;
    const int64_t sequence = push.header.sequence();
    if (sequence == session.last_sequence) {
      *response = session.last_response;
      response->set_duplicate(true);
      return grpc::Status::OK;
    }
    if (sequence != session.last_sequence + 1) {
      return daemon_.Error({grpc::StatusCode::FAILED_PRECONDITION,
                            v1::ErrorDetail::REASON_SEQUENCE_OLD},
                           context);
    }
    daemon_.folded_.push_back(std::move(push));
    response->set_folded_pushes(daemon_.folded_.size());
    *response->mutable_version() = daemon_.version_;
    v1::PushedGroup& group = *response->add_groups();
    group.set_k(4);
    group.set_position(daemon_.folded_.size() % 4);
    session.last_sequence = sequence;
    session.last_response = *response;
    return grpc::Status::OK;
  }

  FakeDaemon& daemon_;
};

class FakeDaemon::Model : public v1::ModelService::Service {
 public:
  explicit Model(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status CreateModel(grpc::ServerContext* context,
                           const v1::CreateModelRequest* request,
                           v1::CreateModelResponse* response) override {
    const Fate fate = daemon_.Next("CreateModel");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    {
      const std::lock_guard lock(daemon_.mutex_);
      const auto [at, created] =
          daemon_.models_.emplace(request->spec().name(), request->spec());
      if (at->second.SerializeAsString() !=
          request->spec().SerializeAsString()) {
        return daemon_.Error({grpc::StatusCode::ALREADY_EXISTS,
                              v1::ErrorDetail::REASON_MODEL_EXISTS},
                             context);
      }
      response->set_created(created);
      Describe(at->second, response->mutable_model());
    }
    daemon_.After(fate);
    return grpc::Status::OK;
  }

  grpc::Status GetModel(grpc::ServerContext* context,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    const Fate fate = daemon_.Next("GetModel");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    const std::lock_guard lock(daemon_.mutex_);
    const auto found = daemon_.models_.find(request->model());
    if (found == daemon_.models_.end()) return Unknown(context);
    Describe(found->second, response->mutable_model());
    return grpc::Status::OK;
  }

  // Two a page, whatever the page size asked for.
  grpc::Status ListModels(grpc::ServerContext*,
                          const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override {
    daemon_.Next("ListModels");
    const std::lock_guard lock(daemon_.mutex_);
    auto at = daemon_.models_.lower_bound(request->page_token());
    for (; at != daemon_.models_.end() && response->models_size() < 2; ++at) {
      Describe(at->second, response->add_models());
    }
    if (at != daemon_.models_.end()) {
      response->set_next_page_token(at->first);
    }
    return grpc::Status::OK;
  }

  grpc::Status DeleteModel(grpc::ServerContext* context,
                           const v1::DeleteModelRequest* request,
                           v1::DeleteModelResponse*) override {
    daemon_.Next("DeleteModel");
    const std::lock_guard lock(daemon_.mutex_);
    return daemon_.models_.erase(request->model()) > 0 ? grpc::Status::OK
                                                       : Unknown(context);
  }

  grpc::Status InitializeModel(
      grpc::ServerContext* context,
      grpc::ServerReader<v1::InitializeModelRequest>* reader,
      v1::InitializeModelResponse* response) override {
    const Fate fate = daemon_.Next("InitializeModel");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    v1::InitializeModelRequest request;
    v1::InitializeModelHeader header;
    std::string values;
    while (reader->Read(&request)) {
      if (request.has_header()) header = request.header();
      values += request.chunk();
    }
    {
      const std::lock_guard lock(daemon_.mutex_);
      if (daemon_.initialized_by_.has_value()) {
        return daemon_.Error({grpc::StatusCode::ALREADY_EXISTS,
                              v1::ErrorDetail::REASON_ALREADY_INITIALIZED},
                             context);
      }
      daemon_.initialized_by_ = header;
      daemon_.parameters_ = values;
      *response->mutable_version() = daemon_.version_;
    }
    daemon_.After(fate);
    return grpc::Status::OK;
  }

  grpc::Status UpdateHyperparameters(
      grpc::ServerContext* context,
      const v1::UpdateHyperparametersRequest* request,
      v1::UpdateHyperparametersResponse* response) override {
    const std::lock_guard lock(daemon_.mutex_);
    const auto found = daemon_.models_.find(request->model());
    if (found == daemon_.models_.end()) return Unknown(context);
    for (const v1::GroupUpdate& update : request->updates()) {
      for (v1::GroupSpec& group : *found->second.mutable_groups()) {
        if (!update.group().empty() && update.group() != group.name()) {
          continue;
        }
        group.mutable_hyperparameters()->MergeFrom(update.hyperparameters());
      }
    }
    Describe(found->second, response->mutable_model());
    return grpc::Status::OK;
  }

  grpc::Status EndCycle(grpc::ServerContext* context,
                        const v1::EndCycleRequest* request,
                        v1::EndCycleResponse* response) override {
    const Fate fate = daemon_.Next("EndCycle");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    {
      const std::lock_guard lock(daemon_.mutex_);
      if (!request->has_version() ||
          request->version().number() == daemon_.version_.number()) {
        daemon_.version_.set_number(daemon_.version_.number() + 1);
        response->add_closed_groups("all");
        response->add_missing_pushes(3);
      }
      *response->mutable_version() = daemon_.version_;
    }
    daemon_.After(fate);
    return grpc::Status::OK;
  }

  grpc::Status ListSessions(grpc::ServerContext*,
                            const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override {
    const std::lock_guard lock(daemon_.mutex_);
    auto at = daemon_.sessions_.lower_bound(request->page_token());
    for (; at != daemon_.sessions_.end() && response->sessions_size() < 2;
         ++at) {
      v1::Session& session = *response->add_sessions();
      session.set_worker(at->second.worker);
      session.set_id_prefix(at->first.substr(0, 8));
      session.set_last_sequence(at->second.last_sequence);
      session.mutable_last_active_time()->set_seconds(1'700'000'000);
    }
    if (at != daemon_.sessions_.end()) {
      response->set_next_page_token(at->first);
    }
    return grpc::Status::OK;
  }

 private:
  grpc::Status Unknown(grpc::ServerContext* context) const {
    return daemon_.Error(
        {grpc::StatusCode::NOT_FOUND, v1::ErrorDetail::REASON_MODEL_UNKNOWN},
        context);
  }

  void Describe(const v1::ModelSpec& spec, v1::Model* model) const {
    *model->mutable_spec() = spec;
    model->set_state(v1::Model::STATE_READY);
    *model->mutable_version() = daemon_.version_;
    int64_t count = 0;
    for (const v1::TensorSpec& tensor : spec.tensors()) {
      int64_t elements = 1;
      for (const int64_t extent : tensor.shape()) elements *= extent;
      count += elements;
    }
    model->set_parameter_count(count);
    model->set_payload_bytes(4 * count);
  }

  FakeDaemon& daemon_;
};

class FakeDaemon::Server : public v1::ServerService::Service {
 public:
  explicit Server(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status GetServerInfo(grpc::ServerContext* context,
                             const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override {
    const Fate fate = daemon_.Next("GetServerInfo");
    grpc::Status status;
    if (daemon_.Before(fate, context, &status)) return status;
    response->set_version("fake");
    response->add_encodings(v1::ENCODING_F32);
    response->set_max_chunk_bytes(4 << 20);
    return grpc::Status::OK;
  }

 private:
  FakeDaemon& daemon_;
};

FakeDaemon::FakeDaemon(const Options& options)
    : worker_service_(std::make_unique<Worker>(this)),
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
    grpc::AddInsecureChannelFromFd(server_.get(), fd);
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
