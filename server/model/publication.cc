#include "server/model/publication.h"

#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace accrue {
namespace {

// Calls `done` once, with the first error if any, when all parts are in.
class Countdown {
 public:
  Countdown(int parts, std::function<void(absl::Status)> done)
      : left_(parts), done_(std::move(done)) {}
  void Part(absl::Status status) {
    {
      MutexLock lock(&mu_);
      status_.Update(std::move(status));
      if (--left_ > 0) return;
    }
    done_(std::move(status_));
  }

 private:
  Mutex mu_;
  int left_ ACCRUE_GUARDED_BY(mu_);
  absl::Status status_;  // written under mu_, taken by the last part alone
  const std::function<void(absl::Status)> done_;
};

}  // namespace

Publication::Publication(Facts facts, std::shared_ptr<const Layout> layout,
                         std::vector<std::shared_ptr<GroupBuffer>> groups,
                         std::function<void()> on_release)
    : facts_(std::move(facts)),
      layout_(std::move(layout)),
      groups_(std::move(groups)),
      on_release_(std::move(on_release)) {}

Publication::~Publication() {
  groups_.clear();
  if (on_release_) on_release_();
}

std::vector<int32_t> Publication::ChangedSince(const Version& have) const {
  const bool all = have.lineage != facts_.version.lineage;
  std::vector<int32_t> changed;
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (all || facts_.group_versions[g] > have.number) {
      changed.push_back(static_cast<int32_t>(g));
    }
  }
  return changed;
}

std::vector<Publication::Range> Publication::Collect(
    const std::vector<int>& tensors, kernels::Encoding encoding) const {
  const int64_t size = kernels::EncodedBytes(encoding);
  std::vector<Range> ranges;
  for (int index : tensors) {
    const TensorPlace& place = layout_->tensors()[index];
    const std::byte* data =
        groups_[place.group]->bytes(encoding) + place.group_offset * size;
    const int64_t bytes = place.elems * size;
    if (!ranges.empty() &&
        ranges.back().data + ranges.back().size_bytes == data) {
      ranges.back().size_bytes += bytes;
    } else {
      ranges.push_back({data, bytes});
    }
  }
  return ranges;
}

void Publication::Ranges(
    std::vector<int> tensors, kernels::Encoding encoding, WorkPool* pool,
    const WorkPool::Lane& lane,
    std::function<void(absl::StatusOr<std::vector<Range>>)> done) const {
  if (tensors.empty()) {
    tensors.resize(layout_->tensors().size());
    std::iota(tensors.begin(), tensors.end(), 0);
  }
  if (encoding == kernels::Encoding::kF32) {
    done(Collect(tensors, encoding));
    return;
  }
  absl::flat_hash_set<int32_t> needed;
  for (int index : tensors) needed.insert(layout_->tensors()[index].group);
  auto countdown = std::make_shared<Countdown>(
      static_cast<int>(needed.size()),
      [self = shared_from_this(), tensors = std::move(tensors), encoding,
       done = std::move(done)](absl::Status status) {
        if (status.ok()) {
          done(self->Collect(tensors, encoding));
        } else {
          done(std::move(status));
        }
      });
  for (int32_t group : needed) {
    groups_[group]->Prepare(encoding, pool, lane,
                            [countdown](absl::Status status) {
                              countdown->Part(std::move(status));
                            });
  }
}

Publication::Registration::Registration(Registration&& other) noexcept
    : publication_(std::move(other.publication_)), place_(other.place_) {}

Publication::Registration& Publication::Registration::operator=(
    Registration&& other) noexcept {
  std::swap(publication_, other.publication_);
  std::swap(place_, other.place_);
  return *this;
}

Publication::Registration::~Registration() {
  if (publication_ == nullptr) return;
  MutexLock lock(&publication_->mu_);
  publication_->readers_.erase(place_);
}

Publication::Registration Publication::Register(
    std::weak_ptr<Reader> reader) const {
  Registration registration;
  registration.publication_ = shared_from_this();
  absl::Status ended;
  {
    MutexLock lock(&mu_);
    registration.place_ = readers_.insert(readers_.end(), reader);
    ended = ended_;
  }
  // It found the publication when it was the newest, and lost a race since.
  if (!ended.ok()) {
    if (const auto late = reader.lock()) late->End(ended);
  }
  return registration;
}

void Publication::EndReaders(const absl::Status& why) const {
  std::list<std::weak_ptr<Reader>> readers;
  {
    MutexLock lock(&mu_);
    ended_ = why;
    readers = readers_;
  }
  for (const std::weak_ptr<Reader>& weak : readers) {
    if (std::shared_ptr<Reader> reader = weak.lock()) reader->End(why);
  }
}

}  // namespace accrue
