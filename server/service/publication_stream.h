// PublicationStream: cuts a publication's bytes into messages, uncopied.
//
// Memory.    each slice holds a reference to `hold`, which holds the
//            publication; when the last slice is let go, so is the publication.
// Threading. compatible; slices may be let go on any thread

#ifndef ACCRUE_SERVER_SERVICE_PUBLICATION_STREAM_H_
#define ACCRUE_SERVER_SERVICE_PUBLICATION_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <grpcpp/support/slice.h>

#include "server/model/publication.h"

namespace accrue {

class PublicationStream {
 public:
  // Bytes of one message.
  static constexpr int64_t kChunkBytes = int64_t{1} << 20;

  PublicationStream(std::shared_ptr<const Publication> publication,
                    std::vector<Publication::Range> ranges);

  int64_t total_bytes() const { return total_bytes_; }
  bool done() const { return index_ == ranges_.size(); }

  // The next kChunkBytes, or what is left.
  std::vector<grpc::Slice> Next();

  // Expires once nobody refers to the bytes any more, this stream included.
  std::weak_ptr<const void> hold() const { return hold_; }

 private:
  struct Hold {
    std::shared_ptr<const Publication> publication;
  };

  grpc::Slice Refer(const std::byte* data, int64_t size_bytes) const;

  std::shared_ptr<const Hold> hold_;
  const std::vector<Publication::Range> ranges_;
  int64_t total_bytes_ = 0;
  size_t index_ = 0;
  int64_t at_ = 0;  // in ranges_[index_]
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_PUBLICATION_STREAM_H_
