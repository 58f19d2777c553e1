// Publication: the parameters of one version, immutable, shared with readers.
//
// Shapes.    one float vector per group [group_elems]; groups that an update
//            did not change are shared with the version before.
// Memory.    a reader holds a shared_ptr<const Publication> for as long as any
//            byte of it may still be read, the transport's slices included.
// Threading. safe: immutable but for the readers' list and encoded copies.
#ifndef ACCRUE_SERVER_MODEL_PUBLICATION_H_
#define ACCRUE_SERVER_MODEL_PUBLICATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/base/work_pool.h"
#include "server/kernels/encoding.h"
#include "server/model/group_buffer.h"
#include "server/model/layout.h"
#include "server/model/version.h"

namespace accrue {

// What a reader is to the model: something that can be told to stop.
class Reader {
 public:
  virtual ~Reader() = default;
  // Its publication's memory is needed: end the stream with `why`, and make
  // the transport let go of the bytes. Any thread; must not block.
  virtual void End(absl::Status why) = 0;
};

class Publication : public std::enable_shared_from_this<Publication> {
 public:
  struct Facts {
    Version version;
    int64_t folded_pushes = 0;  // t
    std::vector<int32_t> changed_groups;
    std::vector<int64_t> group_versions;  // [groups] that changed each last
    int64_t changed_bytes = 0;            // F32
    std::optional<double> loss;           // mean over the pushes behind it
    int64_t missing_pushes = 0;           // 0: a full cycle
  };
  // Contiguous bytes of one or more tensors in one encoding.
  struct Range {
    const std::byte* data = nullptr;
    int64_t size_bytes = 0;
  };

  // `on_release` runs when the last reference goes, after the buffers went
  // back; on any thread.
  Publication(Facts facts, std::shared_ptr<const Layout> layout,
              std::vector<std::shared_ptr<GroupBuffer>> groups,
              std::function<void()> on_release);
  ~Publication();

  const Facts& facts() const { return facts_; }
  // Groups (ascending) that have changed since `have`: all of them, if that is
  // of another lineage.
  std::vector<int32_t> ChangedSince(const Version& have) const;
  const float* group(int index) const { return groups_[index]->floats(); }
  const std::vector<std::shared_ptr<GroupBuffer>>& groups() const {
    return groups_;
  }

  // The bytes of `tensors` (indices, ascending; empty: all) in the spec's
  // order. An encoded copy that did not come with the version is made on `pool`
  // when it is first asked for; `done` runs there, or before this returns when
  // nothing has to be made. Ranges live as long as the publication.
  // RESOURCE_EXHAUSTED: no memory for the copy.
  void Ranges(
      std::vector<int> tensors, kernels::Encoding encoding, WorkPool* pool,
      const WorkPool::Lane& lane,
      std::function<void(absl::StatusOr<std::vector<Range>>)> done) const;

  // A reader that may be told to stop, until its registration is destroyed.
  class Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept;
    Registration& operator=(Registration&& other) noexcept;
    ~Registration();

   private:
    friend class Publication;
    std::shared_ptr<const Publication> publication_;
    std::list<std::weak_ptr<Reader>>::iterator place_;
  };
  // A reader that comes after EndReaders is told before this returns.
  Registration Register(std::weak_ptr<Reader> reader) const;
  void EndReaders(const absl::Status& why) const;

 private:
  std::vector<Range> Collect(const std::vector<int>& tensors,
                             kernels::Encoding encoding) const;

  const Facts facts_;
  const std::shared_ptr<const Layout> layout_;
  std::vector<std::shared_ptr<GroupBuffer>> groups_;
  const std::function<void()> on_release_;
  mutable Mutex mu_;
  mutable std::list<std::weak_ptr<Reader>> readers_ ACCRUE_GUARDED_BY(mu_);
  mutable absl::Status ended_ ACCRUE_GUARDED_BY(mu_);  // why readers must go
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_PUBLICATION_H_
