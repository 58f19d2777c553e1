#include "server/model/session_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

constexpr size_t kMaxWorkerName = 255;
constexpr size_t kMaxOpening = 64;
// What a manifest has room for, of sessions' outcomes of one group. What a
// session is besides takes as much as kSessionOutcomes of them.
constexpr int64_t kMostOutcomes = int64_t{1} << 20;
constexpr int64_t kSessionOutcomes = 16;

absl::Status CheckName(const std::string& worker) {
  if (!worker.empty() && worker.size() <= kMaxWorkerName) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnspecified,
                   absl::StrCat("worker: a name of ", worker.size(),
                                " bytes, want 1 to ", kMaxWorkerName));
}

}  // namespace

int64_t MostSessions(int64_t group_count) {
  return kMostOutcomes / (group_count + kSessionOutcomes);
}

absl::StatusOr<Session*> SessionTable::CheckOpen(
    const std::string& worker, const std::string& opening) const {
  ACCRUE_RETURN_IF_ERROR(CheckName(worker));
  if (opening.size() > kMaxOpening) {
    return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnspecified,
                     absl::StrCat("opening: of ", opening.size(),
                                  " bytes, want at most ", kMaxOpening));
  }
  if (const auto old = by_worker_.find(worker); old != by_worker_.end()) {
    const bool same = !opening.empty() && old->second->opening == opening;
    return same ? old->second.get() : nullptr;
  }
  if (size() < max_sessions_) return nullptr;
  ErrorInfo info;
  info.reason = Reason::kLimit;
  info.subject = "--max_sessions";
  return MakeError(absl::StatusCode::kResourceExhausted, info,
                   absl::StrCat("model \"", model_, "\" has ", size(),
                                " sessions, as many as --max_sessions, or "
                                "the number of its groups, allows"));
}

SessionTable::Opened SessionTable::Open(const std::string& worker,
                                        const std::string& id, absl::Time now) {
  Opened opened;
  if (const auto old = by_worker_.find(worker); old != by_worker_.end()) {
    opened.fenced_id = old->second->id;
    Fence(opened.fenced_id);
  }
  auto session = std::make_unique<Session>();
  session->id = id;
  session->worker = worker;
  session->last_active = now;
  opened.session = session.get();
  by_id_[id] = session.get();
  by_worker_[worker] = std::move(session);
  return opened;
}

absl::StatusOr<Session*> SessionTable::Resume(const std::string& worker,
                                              const std::string& id,
                                              absl::Time now) {
  ACCRUE_RETURN_IF_ERROR(CheckName(worker));
  ACCRUE_ASSIGN_OR_RETURN(Session* const session, Find(id));
  if (session->worker != worker) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnspecified,
        absl::StrCat("session of worker \"", session->worker,
                     "\" cannot be resumed by worker \"", worker, "\""));
  }
  session->last_active = now;
  return session;
}

void SessionTable::Fence(const std::string& id) {
  by_id_.erase(id);
  fenced_.insert(id);
  fenced_order_.push_back(id);
  if (fenced_order_.size() > kMaxFenced) {
    fenced_.erase(fenced_order_.front());
    fenced_order_.pop_front();
  }
}

absl::StatusOr<Session*> SessionTable::Find(const std::string& id) {
  auto it = by_id_.find(id);
  if (it != by_id_.end()) return it->second;
  ErrorInfo info;
  info.subject = model_;
  if (fenced_.contains(id)) {
    info.reason = Reason::kSessionFenced;
    return MakeError(
        absl::StatusCode::kAborted, info,
        absl::StrCat("session ", id.substr(0, 8), " of model \"", model_,
                     "\": another client opened a session under "
                     "this worker's name"));
  }
  info.reason = Reason::kSessionUnknown;
  return MakeError(absl::StatusCode::kNotFound, info,
                   absl::StrCat("session ", id.substr(0, 8), " of model \"",
                                model_, "\" is unknown or expired"));
}

bool SessionTable::Close(const std::string& id) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return false;
  const std::string worker = it->second->worker;
  by_id_.erase(it);
  by_worker_.erase(worker);
  return true;
}

void SessionTable::Touch(absl::Time now) {
  for (const auto& [worker, session] : by_worker_) session->last_active = now;
}

std::vector<std::string> SessionTable::IdleSince(absl::Time deadline) const {
  std::vector<std::string> ids;
  for (const auto& [worker, session] : by_worker_) {
    if (session->last_active < deadline) ids.push_back(session->id);
  }
  return ids;
}

void SessionTable::CountPushes(const std::string& worker, int64_t version,
                               int64_t pushes) {
  if (counted_version_ != version) pushes_.clear();
  counted_version_ = version;
  pushes_[worker] += pushes;
}

std::map<std::string, int64_t> SessionTable::PushesAfter(
    int64_t version) const {
  if (counted_version_ != version) return {};
  return {pushes_.begin(), pushes_.end()};
}

int64_t SessionTable::PushesAfter(int64_t version,
                                  const std::string& worker) const {
  if (counted_version_ != version) return 0;
  const auto it = pushes_.find(worker);
  return it == pushes_.end() ? 0 : it->second;
}

}  // namespace accrue
