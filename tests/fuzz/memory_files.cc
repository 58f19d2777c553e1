#include "tests/fuzz/memory_files.h"

#include <cstring>
#include <utility>

#include "server/base/status_macros.h"

namespace accrue::fuzz {
namespace {

class Writer final : public WritableFile {
 public:
  explicit Writer(MemoryFiles::Contents bytes) : bytes_(std::move(bytes)) {}

  absl::Status Append(absl::Span<const Bytes> pieces) override {
    for (const Bytes& piece : pieces) {
      bytes_->append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    return absl::OkStatus();
  }
  absl::Status Overwrite(int64_t offset, Bytes bytes) override {
    bytes_->replace(static_cast<size_t>(offset), bytes.size(),
                    reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Truncate(int64_t size_bytes) override {
    bytes_->resize(static_cast<size_t>(size_bytes));
    return absl::OkStatus();
  }
  int64_t size_bytes() const override {
    return static_cast<int64_t>(bytes_->size());
  }

 private:
  const MemoryFiles::Contents bytes_;
};

class Reader final : public ReadableFile {
 public:
  explicit Reader(MemoryFiles::Contents bytes) : bytes_(std::move(bytes)) {}

  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    const int64_t size = size_bytes();
    if (offset < 0 || offset > size ||
        static_cast<int64_t>(out.size()) > size - offset) {
      return absl::OutOfRangeError("beyond the end");
    }
    if (!out.empty()) {
      std::memcpy(out.data(), bytes_->data() + offset, out.size());
    }
    return absl::OkStatus();
  }
  int64_t size_bytes() const override {
    return static_cast<int64_t>(bytes_->size());
  }

 private:
  const MemoryFiles::Contents bytes_;
};

}  // namespace

absl::StatusOr<MemoryFiles::Contents> MemoryFiles::Find(
    const std::string& path) const {
  const auto found = files_.find(path);
  if (found == files_.end()) return absl::NotFoundError(path);
  return found->second;
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFiles::Create(
    const std::string& path) {
  Contents& bytes = files_[path];
  if (bytes != nullptr) return absl::AlreadyExistsError(path);
  bytes = std::make_shared<std::string>();
  return std::make_unique<Writer>(bytes);
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFiles::Reopen(
    const std::string& path) {
  ACCRUE_ASSIGN_OR_RETURN(Contents bytes, Find(path));
  return std::make_unique<Writer>(std::move(bytes));
}

absl::StatusOr<std::unique_ptr<ReadableFile>> MemoryFiles::Open(
    const std::string& path) {
  ACCRUE_ASSIGN_OR_RETURN(Contents bytes, Find(path));
  return std::make_unique<Reader>(std::move(bytes));
}

absl::Status MemoryFiles::Rename(const std::string& from,
                                 const std::string& to) {
  ACCRUE_RETURN_IF_ERROR(Link(from, to));
  return Remove(from);
}

absl::Status MemoryFiles::Link(const std::string& from, const std::string& to) {
  ACCRUE_ASSIGN_OR_RETURN(files_[to], Find(from));
  return absl::OkStatus();
}

absl::Status MemoryFiles::Remove(const std::string& path) {
  return files_.erase(path) == 1 ? absl::OkStatus() : absl::NotFoundError(path);
}

absl::StatusOr<std::vector<std::string>> MemoryFiles::List(
    const std::string& directory) const {
  std::vector<std::string> names;
  for (const auto& [path, bytes] : files_) {
    names.push_back(path.substr(directory.size() + 1));
  }
  return names;
}

}  // namespace accrue::fuzz
