#include "client/cpp/src/credentials.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

absl::StatusOr<std::string> ReadFile(absl::string_view what,
                                     const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  file.peek();
  if (file.eof()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " ", path, ": it is empty"));
  }
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || !text) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
  }
  return text.str();
}

}  // namespace

absl::StatusOr<TlsPems> ReadPems(const TlsOptions& tls) {
  TlsPems pems;
  if (!tls.ca.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(pems.ca, ReadFile("CA", tls.ca));
  }
  if (!tls.cert.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(pems.cert, ReadFile("certificate", tls.cert));
    ACCRUE_ASSIGN_OR_RETURN(pems.key, ReadFile("key", tls.key));
  }
  return pems;
}

absl::StatusOr<std::string> Authorization(const ClientOptions& options) {
  std::string token = options.token;
  if (!options.token_file.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(token, ReadFile("token file", options.token_file));
    absl::StripAsciiWhitespace(&token);
    if (token.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token file ", options.token_file, ": it is empty"));
    }
  }
  if (token.empty()) return std::string();
  // gRPC would end the process over a header that cannot be.
  for (const char c : token) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
      return absl::InvalidArgumentError(
          "a token is printable ASCII without spaces");
    }
  }
  return absl::StrCat("Bearer ", token);
}

absl::Status CheckCredentials(const ClientOptions& options) {
  if (options.tls.has_value() &&
      options.tls->cert.empty() != options.tls->key.empty()) {
    return absl::InvalidArgumentError(
        "want both a client certificate and its key, or neither");
  }
  if (!options.token.empty() && !options.token_file.empty()) {
    return absl::InvalidArgumentError("want a token or a token_file, not both");
  }
  return absl::OkStatus();
}

}  // namespace accrue::client::internal
