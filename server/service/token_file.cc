#include "server/service/token_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

constexpr off_t kLargestFile = 1 << 20;
constexpr size_t kShortestToken = 16;
constexpr size_t kLongestName = 255;

absl::Status Invalid(absl::string_view which, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(which, ": ", what));
}

absl::StatusOr<Sha256> HashOf(const YAML::Node& entry, const std::string& who) {
  const YAML::Node token = entry["token"];
  const YAML::Node sha256 = entry["sha256"];
  if (token.IsDefined() == sha256.IsDefined()) {
    return Invalid(who, "want either token or sha256");
  }
  if (token.IsDefined()) {
    if (!token.IsScalar() || token.Scalar().size() < kShortestToken) {
      return Invalid(who, absl::StrCat("token: want at least ", kShortestToken,
                                       " characters"));
    }
    return HashToken(token.Scalar());
  }
  const std::string digits = sha256.IsScalar() ? sha256.Scalar() : "";
  const std::string bytes = absl::HexStringToBytes(digits);
  Sha256 hash{};
  if (digits.size() != 2 * hash.size() ||
      absl::BytesToHexString(bytes) != absl::AsciiStrToLower(digits)) {
    return Invalid(who, "sha256: want 64 hexadecimal digits");
  }
  std::memcpy(hash.data(), bytes.data(), hash.size());
  return hash;
}

absl::StatusOr<Role> RoleOf(const YAML::Node& entry, const std::string& who) {
  const YAML::Node role = entry["role"];
  for (const Role known : {Role::kPull, Role::kPush, Role::kAdmin}) {
    if (role.IsDefined() && role.IsScalar() &&
        role.Scalar() == RoleName(known)) {
      return known;
    }
  }
  return Invalid(who, "role: want pull, push or admin");
}

// An empty list would mean all, and is what a template gone wrong leaves.
absl::StatusOr<std::vector<std::string>> ModelsOf(const YAML::Node& entry,
                                                  const std::string& who) {
  std::vector<std::string> patterns;
  const YAML::Node models = entry["models"];
  if (!models.IsDefined()) return patterns;
  if (models.IsSequence()) {
    for (const YAML::Node& pattern : models) {
      if (pattern.IsScalar()) patterns.push_back(pattern.Scalar());
    }
    if (!patterns.empty() && patterns.size() == models.size()) return patterns;
  }
  return Invalid(who, "models: want a list of patterns, at least one");
}

absl::Status AddEntry(const YAML::Node& entry, const std::string& place,
                      Tokens& tokens) {
  if (!entry.IsMap()) {
    return Invalid(place, "want name, token or sha256, role, models");
  }
  for (const auto& field : entry) {
    const std::string key = field.first.IsScalar() ? field.first.Scalar() : "";
    if (key != "name" && key != "token" && key != "sha256" && key != "role" &&
        key != "models") {
      return Invalid(place,
                     "there is a key other than name, token, sha256, "
                     "role and models");
    }
  }
  const YAML::Node name = entry["name"];
  if (!name.IsDefined() || !name.IsScalar() || name.Scalar().empty() ||
      name.Scalar().size() > kLongestName) {
    return Invalid(place,
                   absl::StrCat("name: want 1 to ", kLongestName, " bytes"));
  }
  const std::string who = absl::StrCat(place, " \"", name.Scalar(), "\"");
  Principal principal{.name = name.Scalar()};
  ACCRUE_ASSIGN_OR_RETURN(const Sha256 hash, HashOf(entry, who));
  ACCRUE_ASSIGN_OR_RETURN(principal.role, RoleOf(entry, who));
  ACCRUE_ASSIGN_OR_RETURN(principal.models, ModelsOf(entry, who));
  return tokens.Add(std::move(principal), hash);
}

}  // namespace

absl::StatusOr<std::string> ReadTokenFile(const std::string& path) {
  const auto failure = [&](absl::string_view why) {
    return absl::FailedPreconditionError(
        absl::StrCat("--token_file=", path, ": ", why));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failure(std::strerror(errno));
  const auto close_it = absl::MakeCleanup([fd] { close(fd); });
  // Of what was opened: a name may come to stand for another file.
  struct stat info {};
  if (fstat(fd, &info) != 0) return failure(std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return failure("it is no file");
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return failure(absl::StrFormat(
        "its mode is %04o: others than its owner may use it (chmod 600)",
        static_cast<unsigned>(info.st_mode & 07777)));
  }
  if (info.st_size > kLargestFile) {
    return failure(
        absl::StrCat(info.st_size, " bytes, at most ", kLargestFile));
  }
  std::string text(static_cast<size_t>(info.st_size), '\0');
  const ssize_t size = read(fd, text.data(), text.size());
  if (size < 0) return failure(std::strerror(errno));
  text.resize(static_cast<size_t>(size));
  return text;
}

absl::StatusOr<Tokens> ParseTokens(const std::string& yaml) {
  YAML::Node file;
  try {
    file = YAML::Load(yaml);
  } catch (const YAML::Exception& error) {
    // Its place alone: its text may quote what is there.
    return absl::InvalidArgumentError(
        absl::StrCat("no YAML, line ", error.mark.line + 1));
  }
  if (!file.IsSequence() || file.size() == 0) {
    return absl::InvalidArgumentError(
        "want a list of tokens, at least one, each with name, token or sha256, "
        "role and models");
  }
  Tokens tokens;
  for (size_t i = 0; i < file.size(); ++i) {
    ACCRUE_RETURN_IF_ERROR(
        AddEntry(file[i], absl::StrCat("entry ", i + 1), tokens));
  }
  return tokens;
}

}  // namespace accrue
