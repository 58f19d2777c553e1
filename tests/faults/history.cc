#include "tests/faults/history.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace accrue::faults {
namespace {

absl::string_view Name(PushRecord::Outcome outcome) {
  switch (outcome) {
    case PushRecord::Outcome::kAcknowledged:
      return "acknowledged";
    case PushRecord::Outcome::kRefused:
      return "refused";
    case PushRecord::Outcome::kUnknown:
      return "unknown";
  }
  return "";
}

}  // namespace

std::string Describe(const PushRecord& push) {
  std::string line =
      absl::StrCat("push ", push.sequence, " of ", push.worker, ", session ",
                   push.session.substr(0, 8), ", seed ", push.seed,
                   ", from version ", push.from.number, " of ",
                   push.from.lineage.substr(0, 8), ": ", Name(push.outcome));
  if (push.outcome == PushRecord::Outcome::kRefused) {
    absl::StrAppend(&line, ", ", client::ReasonName(push.reason));
  }
  if (push.outcome == PushRecord::Outcome::kAcknowledged) {
    absl::StrAppend(
        &line, " at t = ", push.t, ", version ", push.version.number, " of ",
        push.version.lineage.substr(0, 8), push.published ? ", published" : "",
        push.duplicate ? ", duplicate" : "");
  }
  return line;
}

void History::Add(PushRecord push) {
  MutexLock lock(&mutex_);
  if (push.outcome == PushRecord::Outcome::kAcknowledged) ++acknowledged_;
  if (push.outcome == PushRecord::Outcome::kUnknown) ++unknown_;
  if (push.duplicate) ++duplicates_;
  pushes_.push_back(std::move(push));
}

void History::AddPull(const client::Version& version,
                      std::vector<float> values) {
  MutexLock lock(&mutex_);
  const auto [pull, first] = pulls_.try_emplace(KeyOf(version), values);
  if (first) return;
  // Bits, not numbers.
  if (std::memcmp(pull->second.data(), values.data(),
                  values.size() * sizeof(float)) != 0) {
    complaints_.push_back(
        absl::StrCat("version ", version.number, " was pulled in two shapes"));
  }
}

void History::AddClose(const client::Version& from) {
  MutexLock lock(&mutex_);
  closes_.insert(KeyOf(from));
}

void History::Complain(std::string what) {
  MutexLock lock(&mutex_);
  complaints_.push_back(std::move(what));
}

std::vector<PushRecord> History::pushes() const {
  MutexLock lock(&mutex_);
  return pushes_;
}

std::map<VersionKey, std::vector<float>> History::pulls() const {
  MutexLock lock(&mutex_);
  return pulls_;
}

std::set<VersionKey> History::closes() const {
  MutexLock lock(&mutex_);
  return closes_;
}

std::vector<std::string> History::complaints() const {
  MutexLock lock(&mutex_);
  return complaints_;
}

int64_t History::acknowledged() const {
  MutexLock lock(&mutex_);
  return acknowledged_;
}

int64_t History::duplicates() const {
  MutexLock lock(&mutex_);
  return duplicates_;
}

int64_t History::unknown() const {
  MutexLock lock(&mutex_);
  return unknown_;
}

}  // namespace accrue::faults
