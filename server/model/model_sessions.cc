// ModelImpl's sessions: opened, closed, expired.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

constexpr absl::Duration kLongestExpiryPeriod = absl::Minutes(1);

}  // namespace

void ModelImpl::OpenSession(
    SessionRequest request,
    std::function<void(absl::StatusOr<OpenedSession>)> done) {
  Run([this, request = std::move(request), done = std::move(done)] {
    if (request.session_id.empty()) return DoOpen(request, done);
    done(DoResume(request));
    return true;
  });
}

// Nothing can be pushed while it drains; but whoever resumes a session may
// still learn its last push's fate.
absl::StatusOr<OpenedSession> ModelImpl::DoResume(
    const SessionRequest& request) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(Usable());
  const auto session =
      sessions_.Resume(request.worker, request.session_id, absl::Now());
  if (!session.ok()) return WithVersion(session.status(), View(cycles_));
  // What is answered stays true: nothing of it is on its way any more.
  AbortArrivals([&](const Incoming& incoming) -> absl::Status {
    if (incoming.session_id != request.session_id) return absl::OkStatus();
    mu_.AssertHeld();
    return GateError(absl::StatusCode::kAborted, Reason::kSuperseded,
                     View(cycles_),
                     absl::StrCat("its session was resumed; sequence ",
                                  incoming.sequence, " may be sent again"));
  });
  return Opened(**session);
}

bool ModelImpl::DoOpen(
    const SessionRequest& request,
    const std::function<void(absl::StatusOr<OpenedSession>)>& done) {
  const auto opened = CheckOpen(request);
  if (!opened.ok()) {
    done(opened.status());
    return true;
  }
  if (opened->has_value()) {
    done(**opened);
    return true;
  }
  SessionOpenChange change{.worker = request.worker, .id = RandomId()};
  const std::string id = change.id;
  return Commit(std::move(change),
                [this, request, id, done](const absl::Status& durable) {
                  if (durable.ok()) {
                    done(AddSession(request, id));
                  } else {
                    done(durable);
                  }
                  return true;
                });
}

absl::StatusOr<std::optional<OpenedSession>> ModelImpl::CheckOpen(
    const SessionRequest& request) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(MayChange());
  const auto there = sessions_.CheckOpen(request.worker, request.opening);
  if (!there.ok()) return WithVersion(there.status(), View(cycles_));
  if (*there == nullptr) return std::nullopt;
  (*there)->last_active = absl::Now();
  return Opened(**there);
}

OpenedSession ModelImpl::AddSession(const SessionRequest& request,
                                    const std::string& id) {
  MutexLock lock(&mu_);
  const SessionTable::Opened opened =
      sessions_.Open(request.worker, id, absl::Now());
  opened.session->opening = request.opening;
  if (!opened.fenced_id.empty()) AbortArrivalsOf(opened.fenced_id);
  return Opened(*opened.session);
}

OpenedSession ModelImpl::Opened(const Session& session) const {
  return OpenedSession{.id = session.id,
                       .last_sequence = session.last_sequence,
                       .last_outcome = session.last_outcome,
                       .version = version_};
}

void ModelImpl::CloseSession(std::string session_id,
                             std::function<void(absl::Status)> done) {
  Run([this, session_id = std::move(session_id), done = std::move(done)] {
    return DoClose(session_id, done);
  });
}

bool ModelImpl::DoClose(const std::string& session_id,
                        const std::function<void(absl::Status)>& done) {
  const absl::StatusOr<bool> closes = CheckClose(session_id);
  if (!closes.ok() || !*closes) {
    done(closes.status());
    return true;
  }
  SessionCloseChange change{.ids = {session_id}};
  return Commit(std::move(change),
                [this, session_id, done](const absl::Status& durable) {
                  if (durable.ok()) EndSessions({session_id});
                  done(durable);
                  return true;
                });
}

absl::StatusOr<bool> ModelImpl::CheckClose(const std::string& session_id) {
  MutexLock lock(&mu_);
  if (!sessions_.Find(session_id).ok()) return false;
  ACCRUE_RETURN_IF_ERROR(Draining());
  return true;
}

void ModelImpl::EndSessions(const std::vector<std::string>& ids) {
  MutexLock lock(&mu_);
  for (const std::string& id : ids) {
    sessions_.Close(id);
    AbortArrivalsOf(id);
  }
}

// Of a session that is no more.
void ModelImpl::AbortArrivalsOf(const std::string& session_id) {
  AbortArrivals([&](const Incoming& incoming) -> absl::Status {
    if (incoming.session_id != session_id) return absl::OkStatus();
    mu_.AssertHeld();
    return WithVersion(sessions_.Find(session_id).status(), View(cycles_));
  });
}

void ModelImpl::ScheduleExpiry() {
  if (environment_.session_ttl == absl::InfiniteDuration()) return;
  const absl::Duration period =
      std::min(environment_.session_ttl / 4, kLongestExpiryPeriod);
  std::weak_ptr<ModelImpl> weak = Self();
  MutexLock lock(&mu_);
  if (deleted_) return;
  expiry_timer_ = environment_.timers->At(absl::Now() + period, [weak] {
    auto self = weak.lock();
    if (self == nullptr) return;
    self->Run([raw = self.get()] { return raw->ExpireSessions(); });
  });
}

std::vector<std::string> ModelImpl::IdleSessions() {
  MutexLock lock(&mu_);
  // What is made again is what happened: its ends come with it.
  if (replaying_ || draining_) return {};
  // One whose push is on its way is not idle.
  for (const Incoming& incoming : arrivals_) {
    absl::StatusOr<Session*> session = sessions_.Find(incoming.session_id);
    if (session.ok()) (*session)->last_active = absl::Now();
  }
  return sessions_.IdleSince(absl::Now() - environment_.session_ttl);
}

// Appended like all that changes the sessions: else a restart would have them
// back, and with all of a long journal's more than there may be.
bool ModelImpl::ExpireSessions() {
  SessionCloseChange change{.ids = IdleSessions()};
  if (change.ids.empty()) {
    ScheduleExpiry();
    return true;
  }
  const std::vector<std::string> ids = change.ids;
  return Commit(std::move(change), [this, ids](const absl::Status& durable) {
    if (durable.ok()) {
      EndSessions(ids);
      ACCRUE_LOG(info, "model \"{}\": {} idle sessions ended", name(),
                 ids.size());
    }
    ScheduleExpiry();
    return true;
  });
}

}  // namespace accrue
