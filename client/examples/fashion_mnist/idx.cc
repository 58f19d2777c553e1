#include "client/examples/fashion_mnist/idx.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <zlib.h>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace accrue::fashion_mnist {
namespace {

constexpr uint8_t kUnsignedBytes = 8;
// More than any dataset of this family has; a damaged header shall not make the
// reader ask for all memory.
constexpr int64_t kLargestArray = int64_t{1} << 32;

// A file that is inflated as it is read.
class Reader {
 public:
  static absl::StatusOr<Reader> Open(const std::string& path) {
    errno = 0;
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
    }
    return Reader(path, file);
  }

  // Exactly so many bytes; `what` they are, for the complaint.
  absl::Status Read(void* data, int64_t size_bytes, absl::string_view what) {
    auto* to = static_cast<uint8_t*>(data);
    int64_t done = 0;
    while (done < size_bytes) {
      constexpr int64_t kPiece = 1 << 20;
      const auto piece =
          static_cast<unsigned>(std::min(kPiece, size_bytes - done));
      const int count = gzread(file_.get(), to + done, piece);
      if (count < 0) return Damaged();
      if (count == 0) {
        return absl::DataLossError(absl::StrCat(path_, ": ends after ", done,
                                                " of ", size_bytes,
                                                " bytes of its ", what));
      }
      done += count;
    }
    return absl::OkStatus();
  }

  // Nothing may follow. This is also where a checksum at the end is verified.
  absl::Status ExpectEnd() {
    uint8_t byte;
    const int count = gzread(file_.get(), &byte, 1);
    if (count < 0) return Damaged();
    if (count > 0) {
      return absl::DataLossError(
          absl::StrCat(path_, ": longer than its header says"));
    }
    // A file that is cut off behind its data ends without an error count.
    int error = Z_OK;
    gzerror(file_.get(), &error);
    return error == Z_OK ? absl::OkStatus() : Damaged();
  }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  Reader(std::string path, gzFile file) : path_(std::move(path)), file_(file) {}

  absl::Status Damaged() {
    int error = Z_OK;
    return absl::DataLossError(
        absl::StrCat(path_, ": ", gzerror(file_.get(), &error)));
  }

  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
};

}  // namespace

absl::StatusOr<IdxArray> ReadIdx(const std::string& path) {
  ACCRUE_ASSIGN_OR_RETURN(Reader reader, Reader::Open(path));
  uint8_t magic[4];
  ACCRUE_RETURN_IF_ERROR(reader.Read(magic, sizeof(magic), "header"));
  if (magic[0] != 0 || magic[1] != 0) {
    return absl::DataLossError(
        absl::StrCat(path, ": no IDX file, it does not begin with two zeros"));
  }
  if (magic[2] != kUnsignedBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": values of type ", magic[2], ", want 8, unsigned bytes"));
  }
  IdxArray array;
  int64_t count = 1;
  for (int i = 0; i < magic[3]; ++i) {
    uint8_t extent[4];
    ACCRUE_RETURN_IF_ERROR(reader.Read(extent, sizeof(extent), "header"));
    array.shape.push_back(int64_t{extent[0]} << 24 | extent[1] << 16 |
                          extent[2] << 8 | extent[3]);
    if (__builtin_mul_overflow(count, array.shape.back(), &count) ||
        count > kLargestArray) {
      return absl::DataLossError(
          absl::StrCat(path, ": its header asks for more than 4 GiB"));
    }
  }
  array.values.resize(static_cast<size_t>(count));
  ACCRUE_RETURN_IF_ERROR(reader.Read(array.values.data(), count, "values"));
  ACCRUE_RETURN_IF_ERROR(reader.ExpectEnd());
  return array;
}

}  // namespace accrue::fashion_mnist
