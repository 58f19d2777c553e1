#include "server/kernels/device_shard.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "server/base/status_macros.h"
#include "server/kernels/chunk_run.h"
#include "server/kernels/device_chunk.h"
#include "server/kernels/device_transfer.h"
#include "server/kernels/group_work.h"
#include "server/kernels/pass_check.h"
#include "server/kernels/pass_run.h"
#include "server/kernels/shard_part.h"

namespace accrue::kernels {
namespace {

// `done`, called and let go of in `lane`. It is called once.
template <class Result>
std::function<void(Result)> InLane(WorkPool* pool, WorkPool::Lane lane,
                                   std::function<void(Result)> done) {
  if (pool == nullptr) return done;
  return [pool, lane = std::move(lane),
          done = std::move(done)](Result result) mutable {
    pool->Post(lane,
               [done = std::move(done), result = std::move(result)]() mutable {
                 done(std::move(result));
               });
  };
}

float* ArrayOf(const PartArrays& arrays, Shard::Array array) {
  switch (array) {
    case Shard::Array::kMomentum:
      return arrays.m;
    case Shard::Array::kVariance:
      return arrays.v;
    case Shard::Array::kAccumulation:
      return arrays.a;
    case Shard::Array::kParameters:
      return arrays.theta;
  }
  return nullptr;
}

class DeviceShard : public Shard {
 public:
  DeviceShard(std::shared_ptr<const BlockMap> blocks,
              std::vector<std::unique_ptr<ShardPart>> parts, WorkPool* pool,
              WorkPool::Lane lane)
      : blocks_(std::move(blocks)),
        parts_(std::move(parts)),
        pool_(pool),
        lane_(std::move(lane)) {}

  std::vector<Device*> devices() const override {
    std::vector<Device*> devices;
    for (const auto& part : parts_) devices.push_back(&part->unit().gpu());
    return devices;
  }
  void Run(Pass pass,
           std::function<void(absl::StatusOr<PassResult>)> done) override;
  absl::Status Read(Array array, int64_t offset,
                    absl::Span<float> out) const override;
  absl::Status Write(Array array, int64_t offset,
                     absl::Span<const float> in) override;
  void Load(std::vector<const float*> groups,
            std::function<void(absl::Status)> done) override;
  void Reset(std::function<void(absl::Status)> done) override;

 private:
  using RunPtr = std::shared_ptr<PassRun>;

  void RunStage(const RunPtr& run, PassStage stage) const;
  void RunChunk(const RunPtr& run, PassStage stage, const ShardPart& part,
                const DeviceChunk& chunk) const;
  void EndStage(const RunPtr& run, PassStage stage) const;
  // body(elements on the device, first, count) for the parts of a range.
  absl::Status ForEachPart(
      Array array, int64_t offset, int64_t count,
      const std::function<absl::Status(const ShardPart& part, float* elements,
                                       int64_t first, int64_t count)>& body)
      const;

  // work(part), which may block, of all parts at the same time.
  void OnAllParts(std::function<absl::Status(ShardPart& part)> work,
                  std::function<void(absl::Status)> done) const;

  const std::shared_ptr<const BlockMap> blocks_;
  const std::vector<std::unique_ptr<ShardPart>> parts_;
  WorkPool* const pool_;
  const WorkPool::Lane lane_;
};

void DeviceShard::Run(Pass pass,
                      std::function<void(absl::StatusOr<PassResult>)> done) {
  const RunPtr run = PassRun::Begin(*blocks_, std::move(pass),
                                    InLane(pool_, lane_, std::move(done)));
  if (run != nullptr) RunStage(run, PassStage::kFold);
}

void DeviceShard::RunStage(const RunPtr& run, PassStage stage) const {
  auto parts_left = std::make_shared<std::atomic<size_t>>(parts_.size());
  for (const auto& part : parts_) {
    DeviceUnit& unit = part->unit();
    auto chunks = std::make_shared<const std::vector<DeviceChunk>>(
        CutIntoChunks(*blocks_, part->blocks(), run->pass, stage,
                      unit.ring().slot_bytes()));
    const auto count = static_cast<int64_t>(chunks->size());
    unit.pool().Run(
        part->lane(), count,
        [this, run, stage, part = part.get(), chunks](int64_t chunk) {
          RunChunk(run, stage, *part, (*chunks)[static_cast<size_t>(chunk)]);
        },
        [this, run, stage, part = part.get(), chunks, parts_left] {
          part->unit().ring().Finish(run.get());
          if (parts_left->fetch_sub(1) == 1) EndStage(run, stage);
        });
  }
}

void DeviceShard::RunChunk(const RunPtr& run, PassStage stage,
                           const ShardPart& part,
                           const DeviceChunk& chunk) const {
  if (run->failed()) return;
  DeviceUnit& unit = part.unit();
  StagingRing::Slot* const slot = unit.ring().Acquire();
  auto chunk_run = std::make_shared<ChunkRun>(
      StageRun{*blocks_, run->pass, stage, run->sums}, part.arrays(), chunk,
      *slot, unit.kernels());
  absl::Status queued = chunk_run->Queue();
  unit.ring().Release(slot, run.get(), std::move(queued),
                      [run = run.get(), chunk_run](const absl::Status& ended) {
                        run->Note(ended.ok() ? chunk_run->Collect() : ended);
                      });
}

// The host's turn: it has seen the sums of all blocks.
void DeviceShard::EndStage(const RunPtr& run, PassStage stage) const {
  if (run->failed()) return run->End();
  if (stage == PassStage::kFold && run->sums.clips()) {
    run->sums.FindClips();
    return RunStage(run, PassStage::kUpdate);
  }
  if (stage != PassStage::kStep && run->sums.trusts()) {
    run->sums.FindRates();
    return RunStage(run, PassStage::kStep);
  }
  run->End();
}

absl::Status DeviceShard::ForEachPart(
    Array array, int64_t offset, int64_t count,
    const std::function<absl::Status(const ShardPart& part, float* elements,
                                     int64_t first, int64_t count)>& body)
    const {
  for (const auto& part : parts_) {
    float* const elements = ArrayOf(part->arrays(), array);
    ACCRUE_RETURN_IF_ERROR(
        CheckRange(*blocks_, array, elements, offset, count));
    const int64_t first = std::max(offset, part->begin());
    const int64_t last = std::min(offset + count, part->end());
    if (first >= last) continue;
    ACCRUE_RETURN_IF_ERROR(body(*part, elements + (first - part->begin()),
                                first - offset, last - first));
  }
  return absl::OkStatus();
}

absl::Status DeviceShard::Read(Array array, int64_t offset,
                               absl::Span<float> out) const {
  return ForEachPart(array, offset, static_cast<int64_t>(out.size()),
                     [&](const ShardPart& part, float* elements, int64_t first,
                         int64_t count) {
                       return CopyOut(part.unit().ring(), elements, count,
                                      out.data() + first);
                     });
}

absl::Status DeviceShard::Write(Array array, int64_t offset,
                                absl::Span<const float> in) {
  return ForEachPart(array, offset, static_cast<int64_t>(in.size()),
                     [&](const ShardPart& part, float* elements, int64_t first,
                         int64_t count) {
                       return CopyIn(part.unit().ring(), in.data() + first,
                                     count, elements);
                     });
}

void DeviceShard::OnAllParts(std::function<absl::Status(ShardPart& part)> work,
                             std::function<void(absl::Status)> done) const {
  struct Shared {
    std::function<absl::Status(ShardPart&)> work;
    std::function<void(absl::Status)> done;
    std::vector<absl::Status> ended;  // [parts]
    std::atomic<size_t> left;         // parts, and who set them to work

    void EndOne() {
      if (left.fetch_sub(1) > 1) return;
      absl::Status first;
      for (const absl::Status& status : ended) first.Update(status);
      // One of its own, which no thread of the device holds on to.
      done(absl::Status(first.code(), first.message()));
    }
  };
  auto shared = std::make_shared<Shared>();
  shared->work = std::move(work);
  shared->done = InLane(pool_, lane_, std::move(done));
  shared->ended.resize(parts_.size());
  shared->left = parts_.size() + 1;
  for (size_t i = 0; i < parts_.size(); ++i) {
    ShardPart* const part = parts_[i].get();
    part->unit().pool().Post(part->lane(), [shared, part, i] {
      shared->ended[i] = shared->work(*part);
      shared->EndOne();
    });
  }
  // Not before: `done` may be the end of the shard.
  shared->EndOne();
}

void DeviceShard::Load(std::vector<const float*> groups,
                       std::function<void(absl::Status)> done) {
  OnAllParts([this, groups = std::move(groups)](
                 ShardPart& part) { return part.Load(*blocks_, groups); },
             std::move(done));
}

void DeviceShard::Reset(std::function<void(absl::Status)> done) {
  OnAllParts([](ShardPart& part) { return part.Reset(); }, std::move(done));
}

// One on each of the first units, in order; up to the first that cannot be
// made.
absl::Status MakeParts(const ShardOptions& options,
                       const std::vector<DeviceUnit*>& units, int count,
                       std::vector<std::unique_ptr<ShardPart>>& parts) {
  for (const BlockRange& blocks : CutIntoParts(*options.blocks, count)) {
    ACCRUE_ASSIGN_OR_RETURN(
        std::unique_ptr<ShardPart> part,
        ShardPart::Make(options, blocks, units[parts.size()]));
    parts.push_back(std::move(part));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Shard>> MakeDeviceShard(
    const ShardOptions& options, std::vector<DeviceUnit*> units,
    const DeviceShardOptions& device_options) {
  const int64_t worth_it =
      options.blocks->elems / device_options.least_part_elems;
  while (true) {
    const auto part_count = static_cast<int>(
        std::clamp<int64_t>(worth_it, 1, static_cast<int64_t>(units.size())));
    std::vector<std::unique_ptr<ShardPart>> parts;
    absl::Status made = MakeParts(options, units, part_count, parts);
    if (made.ok()) {
      return std::make_unique<DeviceShard>(options.blocks, std::move(parts),
                                           device_options.pool,
                                           device_options.lane);
    }
    // Others may take over what this one cannot.
    const auto failed = units.begin() + static_cast<ptrdiff_t>(parts.size());
    if (units.size() == 1 ||
        (!absl::IsResourceExhausted(made) && (*failed)->gpu().health().ok())) {
      return made;
    }
    units.erase(failed);
  }
}

}  // namespace accrue::kernels
