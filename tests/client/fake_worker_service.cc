#include <chrono>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/client/fake_services.h"

namespace accrue::client {

grpc::Status FakeDaemon::Worker::OpenSession(
    grpc::ServerContext* context, const v1::OpenSessionRequest* request,
    v1::OpenSessionResponse* response) {
  const Fate fate = daemon_.Next("OpenSession");
  if (request->session_id().empty()) {
    const std::lock_guard lock(daemon_.mutex_);
    daemon_.openings_.push_back(request->opening());
  }
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

grpc::Status FakeDaemon::Worker::Push(
    grpc::ServerContext* context, grpc::ServerReader<v1::PushRequest>* reader,
    v1::PushResponse* response) {
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
  if (!push.header.data_connection().empty() &&
      !daemon_.ReadPayload(push.header, &push.payload)) {
    return daemon_.Error({grpc::StatusCode::UNAVAILABLE,
                          v1::ErrorDetail::REASON_DATA_CONNECTION},
                         context);
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

grpc::Status FakeDaemon::Worker::Pull(
    grpc::ServerContext* context, const v1::PullRequest* request,
    grpc::ServerWriter<v1::PullResponse>* writer) {
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

grpc::Status FakeDaemon::Worker::Watch(
    grpc::ServerContext* context, const v1::WatchRequest* request,
    grpc::ServerWriter<v1::WatchResponse>* writer) {
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

grpc::Status FakeDaemon::Worker::CloseSession(
    grpc::ServerContext* context, const v1::CloseSessionRequest* request,
    v1::CloseSessionResponse*) {
  const Fate fate = daemon_.Next("CloseSession");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  const std::lock_guard lock(daemon_.mutex_);
  daemon_.sessions_.erase(request->session_id());
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Worker::Fold(FoldedPush push,
                                      grpc::ServerContext* context,
                                      v1::PushResponse* response) {
  const std::lock_guard lock(daemon_.mutex_);
  const auto found = daemon_.sessions_.find(push.header.session_id());
  if (found == daemon_.sessions_.end()) {
    return daemon_.Error(
        {grpc::StatusCode::NOT_FOUND, v1::ErrorDetail::REASON_SESSION_UNKNOWN},
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

}  // namespace accrue::client
