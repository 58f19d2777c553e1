#include "server/model/gathering.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <utility>

namespace accrue {
namespace {

// A payload of many chunks keeps little more than itself alive. A small one
// would keep the whole buffer that the transport read it with: it is copied.
constexpr int64_t kCopiedBytes = 64 << 10;

// Of everything else about a push that is held.
constexpr int64_t kRecordBytes = 1024;

// Slices hold up to 1.07 times their payload.
int64_t ChargeOf(int64_t payload_bytes) {
  return payload_bytes + payload_bytes / 100 * 7 + 7 + kRecordBytes;
}

ByteChain Copy(const ByteChain& chain) {
  const int64_t size = chain.size_bytes();
  auto bytes = std::make_unique<std::byte[]>(static_cast<size_t>(size));
  std::byte* to = bytes.get();
  for (const ByteChain::Span& span : chain.spans()) {
    std::memcpy(to, span.data, static_cast<size_t>(span.size));
    to += span.size;
  }
  ByteChain copy;
  std::byte* const owned = bytes.release();
  copy.Append(
      owned, size,
      {[](void* arg) { delete[] static_cast<std::byte*>(arg); }, owned});
  return copy;
}

}  // namespace

rule::PushFacts HeldPush::FactsOf(size_t group) const {
  rule::PushFacts result = facts;
  result.norm = std::sqrt(group_square_sums[group]) / facts.scale;
  return result;
}

Held HoldPush(Push& push, const Passed& passed, const MemoryLedger& ledger) {
  auto held = std::make_shared<HeldPush>();
  held->worker = passed.session->worker;
  held->payload = push.payload.size_bytes() <= kCopiedBytes
                      ? Copy(push.payload)
                      : std::move(push.payload);
  held->encoding = push.header.encoding;
  held->facts.micro_steps = push.header.micro_steps;
  held->facts.weight = passed.weight;
  held->facts.gain_factor = passed.gain_factor;
  held->facts.scale = push.header.scale;
  held->group_square_sums = std::move(push.group_square_sums);
  held->charge =
      ledger.Add(MemoryTag::kGathered, ChargeOf(held->payload.size_bytes()));
  push.payload.Clear();
  push.reservation.reset();
  return held;
}

Gathering::Cycle Gathering::CycleOf(const std::vector<int32_t>& groups,
                                    const std::vector<Held>& newest) const {
  int64_t begin = end();
  for (const int32_t g : groups) begin = std::min(begin, begins_[g]);
  struct Place {
    const Held* held;
    int64_t at;  // in the order of acceptance
  };
  std::vector<Place> places;
  for (int64_t at = begin; at < end(); ++at) {
    places.push_back({&held_[static_cast<size_t>(at - first_)], at});
  }
  for (const Held& held : newest) {
    places.push_back({&held, begin + static_cast<int64_t>(places.size())});
  }
  // A worker's own pushes were accepted in their order.
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) {
                     return (*a.held)->worker < (*b.held)->worker;
                   });
  Cycle cycle;
  cycle.of_group.resize(groups.size());
  for (size_t i = 0; i < places.size(); ++i) {
    cycle.pushes.push_back(*places[i].held);
    for (size_t g = 0; g < groups.size(); ++g) {
      if (places[i].at < begins_[groups[g]]) continue;
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

std::vector<Held> Gathering::Clear() {
  return Advance({}, [this] {
    std::vector<int32_t> all(begins_.size());
    for (size_t g = 0; g < all.size(); ++g) all[g] = static_cast<int32_t>(g);
    return all;
  }());
}

int64_t GatherBytes(const ModelSpec& spec) {
  if (spec.optimizer.buffering != rule::Buffering::kGather) return 0;
  int64_t elems = 0;
  for (const TensorSpec& tensor : spec.tensors) elems += ElementCount(tensor);
  int64_t pushes = 0;
  for (const GroupSpec& group : spec.groups) {
    const int64_t k = group.adaptive_k.has_value() ? group.adaptive_k->max_k
                                                   : group.update_every;
    pushes = std::max(pushes, k);
  }
  return pushes * ChargeOf(elems * static_cast<int64_t>(sizeof(float)));
}

}  // namespace accrue
