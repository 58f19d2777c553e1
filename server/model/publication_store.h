// PublicationStore: the memory of a model's publications, and their bound.
//
// At most max_publications exist at once, those that only readers still hold
// included. Buffers are recycled, so that a steady state of two publications
// maps no fresh page.
//
// Memory.    host memory of the device, charged to the model's ledger. The
//            first encoded copy reserves what all publications' copies in that
//            encoding may take, until the last of the store's memory has gone.
// Threading. safe. Publications may outlive the store, but not its pool.
#ifndef ACCRUE_SERVER_MODEL_PUBLICATION_STORE_H_
#define ACCRUE_SERVER_MODEL_PUBLICATION_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/model/layout.h"
#include "server/model/publication.h"
#include "server/model/state_budget.h"

namespace accrue {

class PublicationStore {
 public:
  struct Options {
    std::string model;  // its name
    std::shared_ptr<const Layout> layout;
    int64_t max_publications = 2;
    Device* device = nullptr;  // until MoveTo
    std::shared_ptr<MemoryLedger> ledger;
    std::shared_ptr<StateBudget> budget;  // of encoded copies; null: no bound
    // Kept until the last buffer has gone.
    StateBudget::Reservation reservation;
    // Where a GPU's buffers that come back late are freed: whoever reads them
    // last may be a thread that must not wait.
    WorkPool* pool = nullptr;
    WorkPool::Lane lane;
    // Runs, on any thread, whenever a publication has gone, or is no longer
    // held.
    std::function<void()> on_free;
  };
  explicit PublicationStore(Options options);
  ~PublicationStore();

  // Whether one more may be made, now: not while one that is not the newest is
  // held.
  bool HasRoom() const;

  // A buffer for a group's next version; its contents are undefined.
  // RESOURCE_EXHAUSTED: no memory.
  absl::StatusOr<std::shared_ptr<GroupBuffer>> NewBuffer(int group);
  // Likewise, of memory that older versions have left; null: none has.
  std::shared_ptr<GroupBuffer> RecycledBuffer(int group);

  // Buffers come from `device` from now on. Those of before serve as long as
  // they are held, and are not written again: copies of a GPU that was lost may
  // still be on their way to them.
  void MoveTo(Device* device);

  std::shared_ptr<const Publication> Publish(
      Publication::Facts facts,
      std::vector<std::shared_ptr<GroupBuffer>> groups);

  // `publication` for a reader who ends soon, but is not to cost any memory:
  // the next one may still be made, the one after only once it has been let go
  // of.
  std::shared_ptr<const Publication> Hold(
      std::shared_ptr<const Publication> publication);

  // Where there are too many: tells the readers of the oldest publication, if
  // it is not the newest one, to stop. Repeated calls for the same publication
  // do nothing more.
  void EndOldestReaders(const absl::Status& why);

  int64_t count() const;

 private:
  class State;
  const std::shared_ptr<State> state_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_PUBLICATION_STORE_H_
