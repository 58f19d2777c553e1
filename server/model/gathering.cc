#include "server/model/gathering.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <utility>

#include "server/model/kept_copy.h"

namespace accrue {
namespace {

// Of what is held beside payload and norms: HeldPush, its worker's name (of up
// to 255 bytes), their places in the heap and in a queue.
constexpr int64_t kRecordBytes = 768;
// A piece's span and its release.
constexpr int64_t kSpanBytes = 64;
// Half of what a manifest may have (2^28 bytes), in norms: 32 bytes each, as
// JSON on a line of its own. What a push is there besides takes as much as
// kPushNorms of them: its worker's name, of up to 255 bytes that may take six
// each, once with the push and once where shares are counted, and 400 bytes of
// names and numbers.
constexpr int64_t kMostNorms = int64_t{1} << 22;
constexpr int64_t kPushNorms = 112;

// F32's, but for a single element.
int64_t MostPayloadBytes(int64_t elems) {
  using kernels::Encoding;
  int64_t most = 0;
  for (const Encoding encoding :
       {Encoding::kF32, Encoding::kBf16, Encoding::kF16, Encoding::kInt8,
        Encoding::kTopK}) {
    most = std::max(most, kernels::PayloadBytesOf(encoding, elems).most);
  }
  return most;
}

}  // namespace

int64_t HeldBytes(int64_t payload_bytes, int64_t group_count) {
  const int64_t pieces =
      (payload_bytes + KeptCopy::kPieceBytes - 1) / KeptCopy::kPieceBytes;
  const int64_t rounding = std::min<int64_t>(payload_bytes / 8 + 8, 32 << 10);
  const int64_t norms = group_count * static_cast<int64_t>(sizeof(double));
  return payload_bytes + rounding + pieces * kSpanBytes + norms + norms / 8 +
         kRecordBytes;
}

rule::PushFacts HeldPush::FactsOf(size_t group) const {
  rule::PushFacts result = facts;
  result.norm = std::sqrt(group_square_sums[group]) / facts.scale;
  return result;
}

Held HoldPush(Push& push, const Passed& passed, const MemoryLedger& ledger) {
  auto held = std::make_shared<HeldPush>();
  held->worker = passed.session->worker;
  held->payload = std::move(push.payload);
  held->encoding = push.header.encoding;
  held->facts.micro_steps = push.header.micro_steps;
  held->facts.weight = passed.weight;
  held->facts.gain_factor = passed.gain_factor;
  held->facts.scale = push.header.scale;
  held->group_square_sums = std::move(push.group_square_sums);
  ChargeHeld(*held, ledger);
  return held;
}

void ChargeHeld(HeldPush& push, const MemoryLedger& ledger) {
  push.charge = ledger.Add(
      MemoryTag::kGathered,
      HeldBytes(push.payload.size_bytes(),
                static_cast<int64_t>(push.group_square_sums.size())));
}

Gathering::Open Gathering::OpenCycles(const std::vector<int32_t>& groups,
                                      const std::vector<Held>& newest) const {
  int64_t begin = end();
  for (const int32_t g : groups) begin = std::min(begin, begins_[g]);
  Open open;
  open.pushes.assign(held_.begin() + (begin - first_), held_.end());
  open.pushes.insert(open.pushes.end(), newest.begin(), newest.end());
  for (const int32_t g : groups) {
    open.begins.push_back(static_cast<size_t>(begins_[g] - begin));
  }
  return open;
}

Gathering::Cycle Gathering::InFoldOrder(const Open& open) {
  std::vector<size_t> order(open.pushes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // A worker's own pushes were accepted in their order.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return open.pushes[a]->worker < open.pushes[b]->worker;
  });
  Cycle cycle;
  cycle.of_group.resize(open.begins.size());
  for (size_t i = 0; i < order.size(); ++i) {
    cycle.pushes.push_back(open.pushes[order[i]]);
    for (size_t g = 0; g < open.begins.size(); ++g) {
      if (order[i] < open.begins[g]) continue;
      cycle.of_group[g].push_back(static_cast<int32_t>(i));
    }
  }
  return cycle;
}

std::vector<Held> Gathering::Advance(std::vector<Held> newest,
                                     const std::vector<int32_t>& folded) {
  std::move(newest.begin(), newest.end(), std::back_inserter(held_));
  std::vector<Held> gone;
  if (folded.empty()) return gone;
  for (const int32_t g : folded) begins_[g] = end();
  const int64_t needed = *std::min_element(begins_.begin(), begins_.end());
  while (first_ < needed) {
    gone.push_back(std::move(held_.front()));
    held_.pop_front();
    ++first_;
  }
  return gone;
}

Gathering::Open Gathering::All() const {
  Open open;
  open.pushes.assign(held_.begin(), held_.end());
  for (const int64_t begin : begins_) {
    open.begins.push_back(static_cast<size_t>(begin - first_));
  }
  return open;
}

void Gathering::Restore(Open open) {
  held_.assign(std::make_move_iterator(open.pushes.begin()),
               std::make_move_iterator(open.pushes.end()));
  first_ = 0;
  begins_.assign(open.begins.begin(), open.begins.end());
}

std::vector<Held> Gathering::Clear() {
  return Advance({}, [this] {
    std::vector<int32_t> all(begins_.size());
    for (size_t g = 0; g < all.size(); ++g) all[g] = static_cast<int32_t>(g);
    return all;
  }());
}

int64_t MostHeldPushes(int64_t group_count) {
  return kMostNorms / (group_count + kPushNorms);
}

int64_t LongestCycle(const GroupSpec& group) {
  return group.adaptive_k.has_value() ? group.adaptive_k->max_k
                                      : group.update_every;
}

int64_t GatherBytes(const ModelSpec& spec) {
  if (!KeepsPayloads(spec)) return 0;
  int64_t elems = 0;
  for (const TensorSpec& tensor : spec.tensors) elems += ElementCount(tensor);
  int64_t pushes = 0;
  for (const GroupSpec& group : spec.groups) {
    pushes = std::max(pushes, LongestCycle(group));
  }
  return pushes * HeldBytes(MostPayloadBytes(elems),
                            static_cast<int64_t>(spec.groups.size()));
}

}  // namespace accrue
