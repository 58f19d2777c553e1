#include "server/ingest/admission.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace accrue {
namespace {

// The transport's and our own bookkeeping of one message.
constexpr int64_t kMessageBytes = 512;

}  // namespace

struct Admission::Waiter {
  int64_t bytes = 0;
  int64_t held_bytes = 0;  // that count
  int64_t overtaken_bytes = 0;
  Clock::time_point since;
  Granted granted;
  std::list<Line>::iterator line;
  // Its place in the line; none once it waits no longer.
  std::optional<std::list<Ticket>::iterator> place;
};

// What a reservation points to.
class Admission::Held {
 public:
  Held(std::shared_ptr<Admission> admission, int64_t bytes)
      : admission_(std::move(admission)),
        charge_(admission_->ledger_.Add(MemoryTag::kIngest, bytes)) {}
  ~Held() {
    const int64_t bytes = charge_.bytes();
    charge_.Release();
    admission_->GiveBack(bytes);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  const std::shared_ptr<Admission> admission_;
  MemoryLedger::Charge charge_;
};

Admission::Admission(const Options& options, MemoryLedger* ledger)
    : options_(options), ledger_(ledger) {}

int64_t Admission::ChargeOf(int64_t payload_bytes) {
  const int64_t messages =
      (payload_bytes + kMinChunkBytes - 1) / kMinChunkBytes + 1;
  return payload_bytes + messages * kMessageBytes;
}

absl::StatusOr<Admission::Answer> Admission::Ask(const void* model,
                                                 int64_t bytes,
                                                 int64_t held_bytes,
                                                 Granted granted) {
  bytes = std::min(bytes, options_.budget_bytes);
  MutexLock lock(&mu_);
  if (ring_.empty() && Fits(bytes)) return Answer{Reserve(bytes), nullptr};

  auto ticket = std::make_shared<Waiter>();
  ticket->bytes = bytes;
  ticket->since = Clock::now();
  Join(model, ticket);
  // Whoever was here before did not fit, or it would not wait: this grants the
  // new request or nothing.
  std::vector<Grant> grants = GrantWhatFits();
  if (!ticket->place.has_value()) {
    return Answer{std::move(grants.front().reservation), nullptr};
  }
  if (held_bytes > kFreeHeldBytes) {
    if (held_bytes_ + held_bytes > options_.max_held_bytes) {
      Remove(ticket);
      ErrorInfo info;
      info.reason = Reason::kIngestMemory;
      info.retry_after = absl::Seconds(1);
      info.subject = "--ingest_memory";
      return MakeError(
          absl::StatusCode::kResourceExhausted, info,
          absl::StrCat("no ingest memory is free, and a first message with ",
                       held_bytes, " bytes of payload cannot wait for it, at ",
                       "most ", kFreeHeldBytes, " surely can"));
    }
    ticket->held_bytes = held_bytes;
    held_bytes_ += held_bytes;
  }
  ticket->granted = std::move(granted);
  return Answer{nullptr, ticket};
}

void Admission::Cancel(const Ticket& ticket) {
  Granted dropped;  // outside the lock, with all that it holds
  std::vector<Grant> grants;
  {
    MutexLock lock(&mu_);
    if (!ticket->place.has_value()) return;
    Remove(ticket);
    dropped = std::move(ticket->granted);
    // It may have been the one for which memory was saved up.
    grants = GrantWhatFits();
  }
  for (Grant& grant : grants) grant.granted(std::move(grant.reservation));
}

void Admission::GiveBack(int64_t bytes) {
  std::vector<Grant> grants;
  {
    MutexLock lock(&mu_);
    reserved_bytes_ -= bytes;
    grants = GrantWhatFits();
  }
  for (Grant& grant : grants) grant.granted(std::move(grant.reservation));
}

Admission::Reservation Admission::Reserve(int64_t bytes) {
  reserved_bytes_ += bytes;
  return std::make_shared<Held>(shared_from_this(), bytes);
}

void Admission::Join(const void* model, const Ticket& ticket) {
  const auto [entry, is_new] = lines_.try_emplace(model, ring_.end());
  if (is_new) entry->second = ring_.insert(ring_.end(), Line{model, {}});
  ticket->line = entry->second;
  auto& waiters = ticket->line->waiters;
  ticket->place = waiters.insert(waiters.end(), ticket);
  ++waiting_count_;
}

void Admission::Remove(const Ticket& ticket) {
  const auto line = ticket->line;
  line->waiters.erase(*std::exchange(ticket->place, std::nullopt));
  if (line->waiters.empty()) {
    lines_.erase(line->model);
    ring_.erase(line);
  }
  held_bytes_ -= ticket->held_bytes;
  --waiting_count_;
}

std::vector<Admission::Grant> Admission::GrantWhatFits() {
  std::vector<Grant> grants;
  while (GrantNext(grants)) {
  }
  return grants;
}

// Grants the first head in the ring that fits and that may overtake all heads
// before it.
bool Admission::GrantNext(std::vector<Grant>& grants) {
  for (auto line = ring_.begin(); line != ring_.end(); ++line) {
    const Ticket head = line->waiters.front();
    if (!Fits(head->bytes)) {
      if (MustBeNext(*head)) return false;
      continue;
    }
    for (auto passed = ring_.begin(); passed != line; ++passed) {
      passed->waiters.front()->overtaken_bytes += head->bytes;
    }
    grants.push_back({std::move(head->granted), Reserve(head->bytes)});
    const bool last = line->waiters.size() == 1;
    Remove(head);
    if (!last) ring_.splice(ring_.end(), ring_, line);
    return true;
  }
  return false;
}

bool Admission::Fits(int64_t bytes) const {
  return bytes <= options_.budget_bytes - reserved_bytes_;
}

bool Admission::MustBeNext(const Waiter& waiter) const {
  if (waiter.overtaken_bytes >= waiter.bytes) return true;
  if (options_.patience == absl::InfiniteDuration()) return false;
  return Clock::now() - waiter.since >=
         absl::ToChronoNanoseconds(options_.patience);
}

int64_t Admission::reserved_bytes() const {
  MutexLock lock(&mu_);
  return reserved_bytes_;
}

int64_t Admission::waiting_count() const {
  MutexLock lock(&mu_);
  return waiting_count_;
}

}  // namespace accrue
