#include "server/durability/import_path.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;

absl::Status Refused(const std::string& path, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("file \"", path, "\": ", why));
}

bool IsBeneath(const fs::path& file, const fs::path& directory) {
  const auto parted = std::mismatch(directory.begin(), directory.end(),
                                    file.begin(), file.end());
  return parted.first == directory.end();
}

}  // namespace

absl::StatusOr<std::string> ResolveBeneath(const std::string& directory,
                                           const std::string& path) {
  const fs::path relative(path);
  if (path.empty() || path.find('\0') != std::string::npos ||
      relative.is_absolute() ||
      std::find(relative.begin(), relative.end(), "..") != relative.end()) {
    return Refused(path, "want a relative path without \"..\"");
  }
  std::error_code error;
  const fs::path root = fs::canonical(directory, error);
  if (error) return Refused(path, "the server has no directory for imports");
  const fs::path file = fs::canonical(root / relative, error);
  // Whether it is there or leads elsewhere is not for everybody to know.
  if (error || !IsBeneath(file, root) || !fs::is_regular_file(file, error)) {
    return absl::NotFoundError(absl::StrCat(
        "file \"", path, "\": no such file among the server's imports"));
  }
  return file.string();
}

}  // namespace accrue
