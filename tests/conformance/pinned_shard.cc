#include "tests/conformance/pinned_shard.h"

#include <cstring>
#include <utility>
#include <vector>

#include "server/base/status_macros.h"
#include "tests/kernels/forwarding_shard.h"

namespace accrue::kernels {
namespace {

// Where something was pinned, and where it is wanted.
struct Bounce {
  Buffer pinned;
  void* wanted;
};
using Bounces = std::vector<Bounce>;

class PinnedShard final : public ForwardingShard {
 public:
  PinnedShard(std::unique_ptr<Shard> shard, Gpu* gpu,
              std::shared_ptr<const BlockMap> blocks)
      : ForwardingShard(std::move(shard)),
        gpu_(gpu),
        blocks_(std::move(blocks)) {}

  void Run(Pass pass,
           std::function<void(absl::StatusOr<PassResult>)> done) override {
    auto bounces = std::make_shared<Bounces>();
    if (absl::Status pinned = PinAll(pass, *bounces); !pinned.ok()) {
      done(std::move(pinned));
      return;
    }
    ForwardingShard::Run(
        std::move(pass),
        [bounces, done = std::move(done)](absl::StatusOr<PassResult> result) {
          for (const Bounce& bounce : *bounces) {
            const auto size = static_cast<size_t>(bounce.pinned.size_bytes());
            if (size == 0) continue;
            std::memcpy(bounce.wanted, bounce.pinned.data(), size);
          }
          done(std::move(result));
        });
  }

 private:
  absl::Status PinAll(Pass& pass, Bounces& bounces) {
    for (size_t g = 0; g < pass.groups.size(); ++g) {
      GroupPass& group = pass.groups[g];
      if (!group.update.has_value()) continue;
      const int64_t elems = blocks_->group_elems[g];
      ACCRUE_RETURN_IF_ERROR(Pin(elems * 4, bounces, group.next));
      for (EncodedNext& encoded : group.encoded) {
        ACCRUE_RETURN_IF_ERROR(
            Pin(elems * EncodedBytes(encoded.encoding), bounces, encoded.out));
      }
    }
    return absl::OkStatus();
  }

  template <class T>
  absl::Status Pin(int64_t size_bytes, Bounces& bounces, T*& array) {
    ACCRUE_ASSIGN_OR_RETURN(
        Buffer pinned,
        gpu_->AllocateHost(size_bytes, MemoryTag::kOther, /*ledger=*/nullptr));
    void* const wanted = array;
    array = static_cast<T*>(pinned.data());
    bounces.push_back({std::move(pinned), wanted});
    return absl::OkStatus();
  }

  Gpu* const gpu_;
  const std::shared_ptr<const BlockMap> blocks_;
};

}  // namespace

std::unique_ptr<Shard> MakePinnedShard(std::unique_ptr<Shard> shard, Gpu* gpu,
                                       std::shared_ptr<const BlockMap> blocks) {
  return std::make_unique<PinnedShard>(std::move(shard), gpu,
                                       std::move(blocks));
}

}  // namespace accrue::kernels
