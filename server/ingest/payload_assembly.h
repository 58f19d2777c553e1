// PayloadAssembly: a payload that grows chunk by chunk, scanned and hashed
// while each chunk is hot in cache.
//
//   status = assembly.Add(chunk);  // judged by its size, and kept
//   read();                        // the next may come in the meantime
//   assembly.Scan();
//
// Memory.    chunks are kept as they came, uncopied; or (`copies`) copied when
//            they are read, and let go of then.
// Errors.    INVALID_ARGUMENT kWrongShape: more than expected, chunks too
//            small, or bytes that the encoding does not allow; kPartial: less;
//            kChecksum. Nothing more may be added.
// Threading. compatible; never blocks.
#ifndef ACCRUE_SERVER_INGEST_PAYLOAD_ASSEMBLY_H_
#define ACCRUE_SERVER_INGEST_PAYLOAD_ASSEMBLY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/base/byte_chain.h"
#include "server/base/error.h"
#include "server/kernels/arrival_scan.h"
#include "server/kernels/block.h"
#include "server/kernels/encoding.h"
#include "server/kernels/payload_hash.h"
#include "server/model/kept_copy.h"

namespace accrue {

class PayloadAssembly {
 public:
  struct Expected {
    std::string what;     // "gradient for model \"mnist\"", for messages
    std::string subject;  // the model's name
    int64_t payload_bytes = 0;
    std::shared_ptr<const kernels::BlockMap> blocks;
    kernels::Encoding encoding = kernels::Encoding::kF32;
    std::optional<uint64_t> checksum;
    bool copies = false;  // the payload is to stay for long
  };

  explicit PayloadAssembly(Expected expected);

  // What came with the header: of any size, none too.
  absl::Status AddFirst(ByteChain chunk);
  // A message of its own: of kMinChunkBytes at least, but for the last one.
  absl::Status Add(ByteChain chunk);
  // Reads what was added since; Finish sees to what is left.
  void Scan();
  // No more will come: is it complete and what the sender meant?
  absl::Status Finish();

  int64_t received_bytes() const {
    return read_.size_bytes() + copy_.size_bytes() + unread_.size_bytes();
  }
  int64_t payload_bytes() const { return expected_.payload_bytes; }
  const std::string& what() const { return expected_.what; }
  uint64_t hash() const { return hash_.Digest(); }
  const kernels::ArrivalScan& scan() const { return scan_; }
  ByteChain TakeChain() {
    return expected_.copies ? copy_.Take() : std::move(read_);
  }

 private:
  absl::Status Refuse(Reason reason, absl::string_view problem) const;

  Expected expected_;
  ByteChain unread_;
  ByteChain read_;  // scanned and hashed, where nothing is copied
  KeptCopy copy_;   // the same, of what is
  kernels::ArrivalScan scan_;
  kernels::PayloadHash hash_;
  bool last_seen_ = false;  // a chunk that only the last one may be
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_PAYLOAD_ASSEMBLY_H_
