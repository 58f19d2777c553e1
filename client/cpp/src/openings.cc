#include "client/cpp/src/openings.h"

#include "client/cpp/src/random_id.h"

namespace accrue::client::internal {

std::string Openings::Take(const Of& of) {
  MutexLock lock(&mutex_);
  auto unanswered = unanswered_.extract(of);
  return unanswered.empty() ? RandomId() : std::move(unanswered.mapped());
}

void Openings::PutBack(const Of& of, std::string opening) {
  MutexLock lock(&mutex_);
  unanswered_[of] = std::move(opening);
}

}  // namespace accrue::client::internal
