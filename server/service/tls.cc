#include "server/service/tls.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include <grpc/grpc.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

using OwnedCertificate = std::unique_ptr<X509, decltype(&X509_free)>;
using OwnedKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using OwnedBio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using OwnedContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

OwnedBio ReaderOf(const std::string& pem) {
  return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free};
}

absl::StatusOr<std::string> ReadPem(absl::string_view flag,
                                    const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  file.peek();
  if (file.eof()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, "=", path, ": it is empty"));
  }
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || !text) {
    return absl::FailedPreconditionError(
        absl::StrCat(flag, "=", path, ": ", std::strerror(errno)));
  }
  return text.str();
}

// All that there are, at least one: gRPC would take none of a file with a
// broken one.
absl::StatusOr<std::vector<OwnedCertificate>> ParseCertificates(
    absl::string_view flag, const std::string& path, const std::string& pem) {
  const OwnedBio reader = ReaderOf(pem);
  std::vector<OwnedCertificate> parsed;
  while (true) {
    OwnedCertificate next(
        PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr), X509_free);
    const bool at_end =
        ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (next == nullptr && !parsed.empty() && at_end) return parsed;
    if (next == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          flag, "=", path, ": ",
          at_end ? "no certificate" : "a broken certificate", " in PEM"));
    }
    parsed.push_back(std::move(next));
  }
}

absl::Status Refused(absl::string_view flag, const std::string& path) {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, "=", path, ": OpenSSL refuses it: ",
                   reason == nullptr ? "no reason given" : reason));
}

// What gRPC does with them, which does not say why it cannot; and the rest of
// the chain as every handshake would look at it.
absl::Status CheckContext(const TlsOptions& options,
                          const std::vector<OwnedCertificate>& chain,
                          EVP_PKEY* key) {
  const OwnedContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr ||
      SSL_CTX_use_certificate(context.get(), chain.front().get()) != 1) {
    return Refused("--tls_cert", options.cert);
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1) {
      return Refused("--tls_cert", options.cert);
    }
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1) {
    return Refused("--tls_key", options.key);
  }
  return absl::OkStatus();
}

// A daemon has nobody to ask.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::Status Check(const TlsOptions& options, const TlsPems& pems) {
  ACCRUE_ASSIGN_OR_RETURN(
      const std::vector<OwnedCertificate> chain,
      ParseCertificates("--tls_cert", options.cert, pems.cert));
  const OwnedKey key(PEM_read_bio_PrivateKey(ReaderOf(pems.key).get(), nullptr,
                                             NoPassphrase, nullptr),
                     EVP_PKEY_free);
  if (key == nullptr) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_key=", options.key,
                     ": no private key in PEM without passphrase"));
  }
  const bool belongs =
      X509_check_private_key(chain.front().get(), key.get()) == 1;
  ERR_clear_error();
  if (!belongs) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_key=", options.key,
                     " is not the key of --tls_cert=", options.cert));
  }
  ACCRUE_RETURN_IF_ERROR(CheckContext(options, chain, key.get()));
  if (options.client_ca.empty()) return absl::OkStatus();
  return ParseCertificates("--tls_client_ca", options.client_ca, pems.client_ca)
      .status();
}

absl::StatusOr<TlsPems> Read(const TlsOptions& options) {
  TlsPems pems;
  ACCRUE_ASSIGN_OR_RETURN(pems.cert, ReadPem("--tls_cert", options.cert));
  ACCRUE_ASSIGN_OR_RETURN(pems.key, ReadPem("--tls_key", options.key));
  if (!options.client_ca.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(pems.client_ca,
                            ReadPem("--tls_client_ca", options.client_ca));
  }
  return pems;
}

// Of grpc_server_credentials, for which grpc++ has no constructor of its own
// that asks for certificates anew.
class Credentials final : public grpc::ServerCredentials {
 public:
  explicit Credentials(grpc_server_credentials* credentials)
      : credentials_(credentials) {}
  ~Credentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address,
                      grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tls>> Tls::Load(const TlsOptions& options) {
  if (options.cert.empty() || options.key.empty()) {
    return absl::InvalidArgumentError(
        "TLS takes both --tls_cert and --tls_key");
  }
  std::unique_ptr<Tls> tls(new Tls(options));
  ACCRUE_ASSIGN_OR_RETURN(TlsPems pems, Read(options));
  MutexLock lock(&tls->mutex_);
  ACCRUE_RETURN_IF_ERROR(tls->Take(std::move(pems)));
  return tls;
}

absl::StatusOr<bool> Tls::Reload() {
  ACCRUE_ASSIGN_OR_RETURN(TlsPems pems, Read(options_));
  MutexLock lock(&mutex_);
  const bool rested = pems == seen_;
  seen_ = pems;
  if (!rested || pems == judged_) return false;
  ACCRUE_RETURN_IF_ERROR(Take(std::move(pems)));
  return true;
}

absl::Status Tls::Take(TlsPems pems) {
  judged_ = pems;
  ACCRUE_RETURN_IF_ERROR(Check(options_, pems));
  good_ = std::move(pems);
  fetched_ = false;
  return absl::OkStatus();
}

grpc_ssl_certificate_config_reload_status Tls::Fetch(
    void* self, grpc_ssl_server_certificate_config** config) {
  auto& tls = *static_cast<Tls*>(self);
  MutexLock lock(&tls.mutex_);
  if (std::exchange(tls.fetched_, true)) {
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  }
  grpc_ssl_pem_key_cert_pair pair = {tls.good_.key.c_str(),
                                     tls.good_.cert.c_str()};
  // gRPC insists on roots. Where clients are asked for no certificate they are
  // of no effect.
  const std::string& roots =
      tls.options_.client_ca.empty() ? tls.good_.cert : tls.good_.client_ca;
  *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

std::shared_ptr<grpc::ServerCredentials> Tls::NewCredentials() {
  grpc_ssl_server_credentials_options* const options =
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          options_.client_ca.empty()
              ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
              : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
          &Tls::Fetch, this);
  return std::make_shared<Credentials>(
      grpc_ssl_server_credentials_create_with_options(options));
}

}  // namespace accrue
