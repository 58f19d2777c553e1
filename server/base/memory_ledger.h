// MemoryLedger: live and peak bytes by tag, for the memory report.
//
// Each model has a ledger whose parent is the process's: what is charged to the
// first counts in the second too.
//
// Units.     bytes
// Invariant. live_bytes is the sum of the charges that exist, and of those that
//            were kept
// Threading. safe; a charge may outlive its ledger (a reader's publication
//            outlives a deleted model)

#ifndef ACCRUE_SERVER_BASE_MEMORY_LEDGER_H_
#define ACCRUE_SERVER_BASE_MEMORY_LEDGER_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace accrue {

enum class MemoryTag {
  kParameters,        // publications
  kDeviceParameters,  // parameters on a GPU, beside their publications
  kMomentum,          // first moments
  kVariance,          // second moments
  kAccumulation,      // CLASSIC buffering's gradient buffer
  kGathered,          // GATHER buffering's held pushes
  kIngest,            // pushes, while they arrive and wait
  kStaging,           // scratch space of kernels and transfers
  kEncoded,           // publications in another encoding
  kOther,
};
inline constexpr int kMemoryTagCount = static_cast<int>(MemoryTag::kOther) + 1;

// "parameters": as in the memory report and the metrics.
absl::string_view MemoryTagName(MemoryTag tag);

class MemoryLedger {
  struct Accounts;

 public:
  // Bytes that count until it is destroyed.
  class Charge {
   public:
    Charge() = default;
    Charge(Charge&& other) noexcept
        : accounts_(std::move(other.accounts_)),
          tag_(other.tag_),
          bytes_(std::exchange(other.bytes_, 0)) {}
    Charge& operator=(Charge&& other) noexcept;
    Charge(const Charge&) = delete;
    Charge& operator=(const Charge&) = delete;
    ~Charge() { Release(); }

    void Release();
    // Counts for good: what it stands for cannot be given back.
    void Keep();
    int64_t bytes() const { return bytes_; }

   private:
    friend class MemoryLedger;
    Charge(std::shared_ptr<Accounts> accounts, MemoryTag tag, int64_t bytes)
        : accounts_(std::move(accounts)), tag_(tag), bytes_(bytes) {}

    std::shared_ptr<Accounts> accounts_;  // null: nothing charged
    MemoryTag tag_ = MemoryTag::kOther;
    int64_t bytes_ = 0;
  };

  struct Row {
    MemoryTag tag;
    int64_t live_bytes;
    int64_t peak_bytes;
  };

  explicit MemoryLedger(const MemoryLedger* parent = nullptr);
  MemoryLedger(const MemoryLedger&) = delete;
  MemoryLedger& operator=(const MemoryLedger&) = delete;

  Charge Add(MemoryTag tag, int64_t bytes) const;

  int64_t live_bytes(MemoryTag tag) const;
  // Of charges that were kept, over all tags; live_bytes has them too.
  int64_t kept_bytes() const;

  // One row per tag, in the order of MemoryTag. Each row is exact; rows may
  // belong to slightly different moments.
  std::vector<Row> Report() const;

 private:
  std::shared_ptr<Accounts> accounts_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_MEMORY_LEDGER_H_
