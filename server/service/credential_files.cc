#include "server/service/credential_files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/service/token_file.h"

namespace accrue {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);

}  // namespace

absl::Status CredentialFiles::Load(const CredentialOptions& options) {
  if (options.tls.enabled()) {
    ACCRUE_ASSIGN_OR_RETURN(tls_, Tls::Load(options.tls));
  }
  token_file_ = options.token_file;
  if (token_file_.empty()) return absl::OkStatus();
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, ReadTokenFile(token_file_));
  return TakeTokens(text);
}

void CredentialFiles::Follow(TimerQueue* timers, WorkPool* pool) {
  if (tls_ != nullptr || !token_file_.empty()) {
    LookLater(timers, pool, pool->NewLane());
  }
}

void CredentialFiles::LookLater(TimerQueue* timers, WorkPool* pool,
                                WorkPool::Lane lane) {
  timers->At(absl::Now() + kLookEvery, [this, timers, pool, lane] {
    pool->Post(lane, [this, timers, pool, lane] {
      Look();
      LookLater(timers, pool, lane);
    });
  });
}

void CredentialFiles::Look() {
  if (tls_ != nullptr) Tell(tls_->Reload(), tls_trouble_);
  if (!token_file_.empty()) Tell(ReloadTokens(), token_trouble_);
}

absl::StatusOr<bool> CredentialFiles::ReloadTokens() {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, ReadTokenFile(token_file_));
  const Sha256 hash = HashToken(text);
  // A file that is being written can be read at any length: what is there of it
  // may be sound, and let in more than the whole does.
  const bool rested = std::exchange(tokens_seen_, hash) == hash;
  if (!rested || hash == tokens_judged_) return false;
  ACCRUE_RETURN_IF_ERROR(TakeTokens(text));
  return true;
}

absl::Status CredentialFiles::TakeTokens(const std::string& text) {
  tokens_judged_ = HashToken(text);
  auto tokens = ParseTokens(text);
  if (!tokens.ok()) {
    return absl::Status(tokens.status().code(),
                        absl::StrCat("--token_file=", token_file_, ": ",
                                     tokens.status().message()));
  }
  access_->SetTokens(std::make_shared<const Tokens>(*std::move(tokens)));
  return absl::OkStatus();
}

void CredentialFiles::Tell(const absl::StatusOr<bool>& reloaded,
                           Trouble& trouble) {
  const std::string error(reloaded.status().message());
  if (!reloaded.ok() && error != trouble.error) {
    ACCRUE_LOG(error, "the {} stay as they were: {}", trouble.what, error);
  } else if (reloaded.ok() && *reloaded) {
    ACCRUE_LOG(info, "new {} are in force", trouble.what);
  }
  trouble.error = error;
}

}  // namespace accrue
