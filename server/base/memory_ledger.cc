#include "server/base/memory_ledger.h"

#include <array>
#include <atomic>

namespace accrue {

struct MemoryLedger::Accounts {
  struct Account {
    std::atomic<int64_t> live{0};
    std::atomic<int64_t> peak{0};
  };

  std::shared_ptr<Accounts> parent;
  std::array<Account, kMemoryTagCount> by_tag;
  std::atomic<int64_t> kept{0};

  // Adds to this ledger and to those above it.
  void Change(MemoryTag tag, int64_t bytes) {
    for (Accounts* at = this; at != nullptr; at = at->parent.get()) {
      Account& account = at->by_tag[static_cast<size_t>(tag)];
      const int64_t live = account.live.fetch_add(bytes) + bytes;
      int64_t peak = account.peak.load();
      while (live > peak && !account.peak.compare_exchange_weak(peak, live)) {
      }
    }
  }
};

absl::string_view MemoryTagName(MemoryTag tag) {
  switch (tag) {
    case MemoryTag::kParameters:
      return "parameters";
    case MemoryTag::kDeviceParameters:
      return "device_parameters";
    case MemoryTag::kMomentum:
      return "momentum";
    case MemoryTag::kVariance:
      return "variance";
    case MemoryTag::kAccumulation:
      return "accumulation";
    case MemoryTag::kGathered:
      return "gathered";
    case MemoryTag::kIngest:
      return "ingest";
    case MemoryTag::kStaging:
      return "staging";
    case MemoryTag::kEncoded:
      return "encoded";
    case MemoryTag::kOther:
      return "other";
  }
  return "other";
}

MemoryLedger::MemoryLedger(const MemoryLedger* parent)
    : accounts_(std::make_shared<Accounts>()) {
  if (parent != nullptr) accounts_->parent = parent->accounts_;
}

MemoryLedger::Charge& MemoryLedger::Charge::operator=(Charge&& other) noexcept {
  if (this == &other) return *this;
  Release();
  accounts_ = std::move(other.accounts_);
  tag_ = other.tag_;
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void MemoryLedger::Charge::Release() {
  if (accounts_ != nullptr) accounts_->Change(tag_, -bytes_);
  accounts_ = nullptr;
  bytes_ = 0;
}

void MemoryLedger::Charge::Keep() {
  for (Accounts* at = accounts_.get(); at != nullptr; at = at->parent.get()) {
    at->kept += bytes_;
  }
  accounts_ = nullptr;
}

MemoryLedger::Charge MemoryLedger::Add(MemoryTag tag, int64_t bytes) const {
  accounts_->Change(tag, bytes);
  return Charge(accounts_, tag, bytes);
}

int64_t MemoryLedger::live_bytes(MemoryTag tag) const {
  return accounts_->by_tag[static_cast<size_t>(tag)].live.load();
}

int64_t MemoryLedger::kept_bytes() const { return accounts_->kept; }

std::vector<MemoryLedger::Row> MemoryLedger::Report() const {
  std::vector<Row> rows;
  for (int i = 0; i < kMemoryTagCount; ++i) {
    const Accounts::Account& account =
        accounts_->by_tag[static_cast<size_t>(i)];
    rows.push_back(
        {static_cast<MemoryTag>(i), account.live.load(), account.peak.load()});
  }
  return rows;
}

}  // namespace accrue
