// Tokens: who may call, by the bearer token that a call carries.
//
// Only SHA-256 hashes are kept. A token is looked up by comparing its hash with
// every one there is, each in constant time: how long that takes says nothing
// about any of them.
//
// Threading. immutable

#ifndef ACCRUE_SERVER_SERVICE_TOKENS_H_
#define ACCRUE_SERVER_SERVICE_TOKENS_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace accrue {

// Each may do what those before it may.
enum class Role { kPull, kPush, kAdmin };

// "pull", "push", "admin".
absl::string_view RoleName(Role role);

struct Principal {
  std::string name = {};
  Role role = Role::kPull;
  // Globs of the models that it may see and use ("mnist-*"); empty: all.
  std::vector<std::string> models = {};

  bool HasAccessTo(absl::string_view model) const;
};

using Sha256 = std::array<unsigned char, 32>;
Sha256 HashToken(absl::string_view token);

class Tokens {
 public:
  // INVALID_ARGUMENT: a principal's name, or a token, is there already
  absl::Status Add(Principal principal, const Sha256& hash);

  // By a token's hash. Null: nobody's.
  std::shared_ptr<const Principal> Find(const Sha256& hash) const;

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Sha256 hash;
    std::shared_ptr<const Principal> principal;
  };
  std::vector<Entry> entries_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_TOKENS_H_
