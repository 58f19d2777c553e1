#include "server/model/publication_store.h"

#include <algorithm>
#include <iterator>
#include <list>
#include <map>
#include <utility>

#include "server/base/mutex.h"
#include "server/base/status_macros.h"
#include "server/device/driver_wait.h"

namespace accrue {

// Shared with the buffers and publications that are out, so that they can come
// back after the store has gone.
class PublicationStore::State
    : public CopyPermit,
      public std::enable_shared_from_this<PublicationStore::State> {
 public:
  explicit State(Options options)
      : options_(std::move(options)),
        device_(options_.device),
        free_(options_.layout->group_elems().size()) {}

  bool HasRoom() const {
    MutexLock lock(&mu_);
    for (const Entry& entry : all_) {
      if (entry.holds > 0 && &entry != &all_.back()) return false;
    }
    return count_ < options_.max_publications;
  }

  absl::Status Permit(kernels::Encoding encoding) override {
    if (options_.budget == nullptr) return absl::OkStatus();
    MutexLock lock(&mu_);
    StateBudget::Reservation& held = copies_[encoding];
    if (held != nullptr) return absl::OkStatus();
    const int64_t bytes = options_.max_publications * options_.layout->elems() *
                          kernels::EncodedBytes(encoding);
    ACCRUE_ASSIGN_OR_RETURN(
        held, options_.budget->Reserve(options_.model,
                                       "publications in 16 bits", bytes));
    return absl::OkStatus();
  }

  int64_t count() const {
    MutexLock lock(&mu_);
    return count_;
  }

  std::shared_ptr<GroupBuffer> RecycledBuffer(int group) {
    std::unique_ptr<GroupBuffer> buffer;
    {
      MutexLock lock(&mu_);
      if (free_[group].empty()) return nullptr;
      buffer = std::move(free_[group].back());
      free_[group].pop_back();
    }
    return Returning(group, std::move(buffer));
  }

  void MoveTo(Device* device) {
    std::vector<std::vector<std::unique_ptr<GroupBuffer>>> old(
        options_.layout->group_elems().size());
    MutexLock lock(&mu_);
    device_ = device;
    ++moves_;
    old.swap(free_);
  }

  absl::StatusOr<std::shared_ptr<GroupBuffer>> NewBuffer(int group) {
    if (auto buffer = RecycledBuffer(group); buffer != nullptr) return buffer;
    const int64_t elems = options_.layout->group_elems()[group];
    Device* device;
    {
      MutexLock lock(&mu_);
      device = device_;
    }
    const DriverWait wait(*device);
    ACCRUE_ASSIGN_OR_RETURN(
        Buffer floats,
        device->AllocateHost(elems * static_cast<int64_t>(sizeof(float)),
                             MemoryTag::kParameters, options_.ledger.get()));
    return Returning(
        group, std::make_unique<GroupBuffer>(std::move(floats), elems, this,
                                             device, options_.ledger.get()));
  }

  std::shared_ptr<const Publication> Publish(
      Publication::Facts facts,
      std::vector<std::shared_ptr<GroupBuffer>> groups) {
    MutexLock lock(&mu_);
    ++count_;
    auto place = all_.insert(all_.end(), Entry{});
    auto publication = std::make_shared<Publication>(
        std::move(facts), options_.layout, std::move(groups),
        [self = shared_from_this(), place] { self->Forget(place); });
    place->publication = publication;
    return publication;
  }

  std::shared_ptr<const Publication> Hold(
      std::shared_ptr<const Publication> publication) {
    MutexLock lock(&mu_);
    auto place = all_.begin();
    while (place->publication.owner_before(publication) ||
           publication.owner_before(place->publication)) {
      ++place;
    }
    ++place->holds;
    const Publication* const held = publication.get();
    return {held, [self = shared_from_this(), place,
                   publication = std::move(publication)](
                      const Publication* /*held*/) mutable {
              self->EndHold(place, std::move(publication));
            }};
  }

  void EndOldestReaders(const absl::Status& why) {
    std::shared_ptr<const Publication> oldest;
    {
      MutexLock lock(&mu_);
      if (count_ < options_.max_publications) return;
      // The newest is the model's own: only the others can go.
      for (auto it = all_.begin(); it != all_.end(); ++it) {
        if (std::next(it) == all_.end()) return;
        oldest = it->publication.lock();
        if (oldest != nullptr) break;  // else it is going at this moment
      }
    }
    if (oldest != nullptr) oldest->EndReaders(why);
  }

  // No more free buffers are kept, and nobody is told any more.
  void Close() {
    std::vector<std::vector<std::unique_ptr<GroupBuffer>>> free;
    MutexLock lock(&mu_);
    closed_ = true;
    free.swap(free_);
  }

 private:
  struct Entry {
    std::weak_ptr<const Publication> publication;
    int holds = 0;
  };

  // It comes back when its last reference goes.
  std::shared_ptr<GroupBuffer> Returning(int group,
                                         std::unique_ptr<GroupBuffer> buffer) {
    MutexLock lock(&mu_);
    return std::shared_ptr<GroupBuffer>(
        buffer.release(),
        [self = shared_from_this(), group, moves = moves_](GroupBuffer* raw) {
          self->Recycle(group, moves, std::unique_ptr<GroupBuffer>(raw));
        });
  }

  void Recycle(int group, int64_t moves, std::unique_ptr<GroupBuffer> buffer) {
    buffer->Invalidate();
    {
      MutexLock lock(&mu_);
      if (!closed_ && moves == moves_) {
        return free_[group].push_back(std::move(buffer));
      }
    }
    if (options_.device->allocates_host_memory()) return;
    options_.pool->RunHereOrPost(
        options_.lane,
        [self = shared_from_this(), buffer = std::move(buffer)]() mutable {
          const DriverWait wait(*self->options_.device);
          buffer.reset();
        });
  }

  void EndHold(std::list<Entry>::iterator place,
               std::shared_ptr<const Publication> publication) {
    {
      MutexLock lock(&mu_);
      --place->holds;
    }
    publication.reset();
    Freed();
  }

  void Forget(std::list<Entry>::iterator place) {
    {
      MutexLock lock(&mu_);
      all_.erase(place);
      --count_;
    }
    Freed();
  }

  void Freed() {
    {
      MutexLock lock(&mu_);
      if (closed_) return;
    }
    options_.on_free();
  }

  const Options options_;
  mutable Mutex mu_;
  int64_t count_ ACCRUE_GUARDED_BY(mu_) = 0;
  bool closed_ ACCRUE_GUARDED_BY(mu_) = false;
  Device* device_ ACCRUE_GUARDED_BY(mu_);
  int64_t moves_ ACCRUE_GUARDED_BY(mu_) = 0;     // how often it was another
  std::list<Entry> all_ ACCRUE_GUARDED_BY(mu_);  // oldest first
  std::vector<std::vector<std::unique_ptr<GroupBuffer>>> free_
      ACCRUE_GUARDED_BY(mu_);
  // What was reserved for copies in each encoding.
  std::map<kernels::Encoding, StateBudget::Reservation> copies_
      ACCRUE_GUARDED_BY(mu_);
};

PublicationStore::PublicationStore(Options options)
    : state_(std::make_shared<State>(std::move(options))) {}

PublicationStore::~PublicationStore() { state_->Close(); }

bool PublicationStore::HasRoom() const { return state_->HasRoom(); }

absl::StatusOr<std::shared_ptr<GroupBuffer>> PublicationStore::NewBuffer(
    int group) {
  return state_->NewBuffer(group);
}

std::shared_ptr<GroupBuffer> PublicationStore::RecycledBuffer(int group) {
  return state_->RecycledBuffer(group);
}

void PublicationStore::MoveTo(Device* device) { state_->MoveTo(device); }

std::shared_ptr<const Publication> PublicationStore::Publish(
    Publication::Facts facts,
    std::vector<std::shared_ptr<GroupBuffer>> groups) {
  return state_->Publish(std::move(facts), std::move(groups));
}

std::shared_ptr<const Publication> PublicationStore::Hold(
    std::shared_ptr<const Publication> publication) {
  return state_->Hold(std::move(publication));
}

void PublicationStore::EndOldestReaders(const absl::Status& why) {
  state_->EndOldestReaders(why);
}

int64_t PublicationStore::count() const { return state_->count(); }

}  // namespace accrue
