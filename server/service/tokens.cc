#include "server/service/tokens.h"

#include <algorithm>
#include <fnmatch.h>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

bool Equal(const Sha256& a, const Sha256& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kPull:
      return "pull";
    case Role::kPush:
      return "push";
    case Role::kAdmin:
      return "admin";
  }
  return "";
}

bool Principal::HasAccessTo(absl::string_view model) const {
  return models.empty() ||
         std::any_of(models.begin(), models.end(), [&](const auto& pattern) {
           return fnmatch(pattern.c_str(), std::string(model).c_str(), 0) == 0;
         });
}

Sha256 HashToken(absl::string_view token) {
  Sha256 hash{};
  EVP_Digest(token.data(), token.size(), hash.data(), nullptr, EVP_sha256(),
             nullptr);
  return hash;
}

absl::Status Tokens::Add(Principal principal, const Sha256& hash) {
  for (const Entry& entry : entries_) {
    if (entry.principal->name == principal.name) {
      return absl::InvalidArgumentError(
          absl::StrCat("two tokens are named \"", principal.name, "\""));
    }
    if (Equal(entry.hash, hash)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", entry.principal->name, "\" and \"", principal.name,
                       "\" have the same token"));
    }
  }
  entries_.push_back(
      {hash, std::make_shared<const Principal>(std::move(principal))});
  return absl::OkStatus();
}

std::shared_ptr<const Principal> Tokens::Find(const Sha256& hash) const {
  // To the end, whether or not it is found before.
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (Equal(entry.hash, hash)) found = &entry;
  }
  return found == nullptr ? nullptr : found->principal;
}

}  // namespace accrue
