// ModelImpl's sessions: opened, closed, expired.
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

constexpr absl::Duration kLongestExpiryPeriod = absl::Minutes(1);

}  // namespace

void ModelImpl::OpenSession(
    std::string worker, std::string session_id,
    std::function<void(absl::StatusOr<OpenedSession>)> done) {
  Run([this, worker = std::move(worker), session_id = std::move(session_id),
       done = std::move(done)] {
    done(DoOpen(worker, session_id));
    return true;
  });
}

absl::StatusOr<OpenedSession> ModelImpl::DoOpen(const std::string& worker,
                                                const std::string& session_id) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(Usable());
  // Nothing can be pushed any more; but whoever resumes a session may still
  // learn its last push's fate.
  if (draining_ && session_id.empty()) {
    return GateError(absl::StatusCode::kUnavailable, Reason::kDraining,
                     View(cycles_), "the server is shutting down");
  }
  absl::StatusOr<SessionTable::Opened> opened =
      sessions_.Open(worker, session_id, absl::Now());
  if (!opened.ok()) return WithVersion(opened.status(), View(cycles_));
  if (!opened->fenced_id.empty()) AbortArrivalsOf(opened->fenced_id);
  const Session& session = *opened->session;
  return OpenedSession{.id = session.id,
                       .last_sequence = session.last_sequence,
                       .last_outcome = session.last_outcome,
                       .version = version_};
}

void ModelImpl::CloseSession(std::string session_id,
                             std::function<void(absl::Status)> done) {
  Run([this, session_id = std::move(session_id), done = std::move(done)] {
    {
      MutexLock lock(&mu_);
      sessions_.Close(session_id);
      AbortArrivalsOf(session_id);
    }
    done(absl::OkStatus());
    return true;
  });
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
  expiry_timer_ = environment_.timers->At(absl::Now() + period, [weak] {
    auto self = weak.lock();
    if (self == nullptr) return;
    self->Run([raw = self.get()] {
      raw->ExpireSessions();
      return true;
    });
  });
}

void ModelImpl::ExpireSessions() {
  int64_t expired = 0;
  {
    MutexLock lock(&mu_);
    if (deleted_) return;
    // One whose push is on its way is not idle.
    for (const Incoming& incoming : arrivals_) {
      absl::StatusOr<Session*> session = sessions_.Find(incoming.session_id);
      if (session.ok()) (*session)->last_active = absl::Now();
    }
    expired = sessions_.Expire(absl::Now() - environment_.session_ttl);
  }
  if (expired > 0) {
    ACCRUE_LOG(info, "model \"{}\": {} idle sessions ended", name(), expired);
  }
  ScheduleExpiry();
}

}  // namespace accrue
