#include "tests/durability/memory_files.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

absl::Status Missing(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("\"", path, "\": no such file"));
}

class Writable final : public WritableFile {
 public:
  explicit Writable(std::shared_ptr<std::string> bytes)
      : bytes_(std::move(bytes)) {}
  absl::Status Append(absl::Span<const Bytes> pieces) override {
    for (const Bytes& piece : pieces) {
      bytes_->append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    return absl::OkStatus();
  }
  absl::Status Overwrite(int64_t offset, Bytes bytes) override {
    std::memcpy(bytes_->data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Truncate(int64_t size_bytes) override {
    bytes_->resize(static_cast<size_t>(size_bytes));
    return absl::OkStatus();
  }
  int64_t size_bytes() const override { return std::ssize(*bytes_); }

 private:
  const std::shared_ptr<std::string> bytes_;
};

class Readable final : public ReadableFile {
 public:
  Readable(std::shared_ptr<std::string> bytes, int64_t* read_bytes)
      : bytes_(std::move(bytes)), read_bytes_(read_bytes) {}
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    *read_bytes_ += std::ssize(out);
    if (offset < 0 || offset + std::ssize(out) > std::ssize(*bytes_)) {
      return absl::OutOfRangeError("read beyond the end");
    }
    std::memcpy(out.data(), bytes_->data() + offset, out.size());
    return absl::OkStatus();
  }
  int64_t size_bytes() const override { return std::ssize(*bytes_); }

 private:
  const std::shared_ptr<std::string> bytes_;
  int64_t* const read_bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFiles::Create(
    const std::string& path) {
  if (files.contains(path)) {
    return absl::AlreadyExistsError(absl::StrCat("\"", path, "\" exists"));
  }
  Put(path, {});
  return std::make_unique<Writable>(files[path]);
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFiles::Reopen(
    const std::string& path) {
  const auto found = files.find(path);
  if (found == files.end()) return Missing(path);
  return std::make_unique<Writable>(found->second);
}

absl::StatusOr<std::unique_ptr<ReadableFile>> MemoryFiles::Open(
    const std::string& path) {
  const auto found = files.find(path);
  if (found == files.end()) return Missing(path);
  return std::make_unique<Readable>(found->second, &read_bytes);
}

absl::Status MemoryFiles::Rename(const std::string& from,
                                 const std::string& to) {
  const auto found = files.find(from);
  if (found == files.end()) return Missing(from);
  files[to] = found->second;
  return Remove(from);
}

absl::Status MemoryFiles::Link(const std::string& from, const std::string& to) {
  const auto found = files.find(from);
  if (found == files.end()) return Missing(from);
  if (!files.emplace(to, found->second).second) {
    return absl::AlreadyExistsError(absl::StrCat("\"", to, "\" exists"));
  }
  return absl::OkStatus();
}

absl::Status MemoryFiles::Remove(const std::string& path) {
  return files.erase(path) > 0 ? absl::OkStatus() : Missing(path);
}

absl::Status MemoryFiles::RemoveDirectory(const std::string& path) {
  std::erase_if(files, [&](const auto& file) {
    return file.first.starts_with(path + "/");
  });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryFiles::List(
    const std::string& directory) const {
  std::vector<std::string> names;
  for (const auto& [path, bytes] : files) {
    if (!path.starts_with(directory + "/")) continue;
    const std::string rest = path.substr(directory.size() + 1);
    std::string name = rest.substr(0, rest.find('/'));
    if (names.empty() || names.back() != name) names.push_back(std::move(name));
  }
  return names;
}

absl::StatusOr<std::unique_ptr<DirectoryLock>> MemoryFiles::Lock(
    const std::string&) {
  return std::make_unique<DirectoryLock>();
}

}  // namespace accrue
