// Certificates and tokens that are exchanged while the daemon runs.

#include <fstream>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "accrue/client.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using client::Client;
using client::ClientOptions;
using testing::HasSubstr;

// Asks until it is so.
void Await(const std::string& what, const std::function<bool()>& is_so) {
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (!is_so()) ASSERT_LT(absl::Now(), deadline) << what;
}

void AwaitLog(const Daemon& daemon, const std::string& text) {
  Await(text, [&] { return daemon.Log().find(text) != std::string::npos; });
}

class CertificateReloadTest : public testing::Test {
 protected:
  CertificateReloadTest() {
    for (const char* ca : {"ca", "next-ca"}) certificates_.MakeCa(ca);
    certificates_.Make("daemon", "ca");
    certificates_.Make("next", "next-ca");
    certificates_.Make("worker", "ca");
    certificates_.Make("next-worker", "next-ca");
    trusted_ = certificates_.Write("trusted.pem", "");
    Certificates::Replace(trusted_, certificates_.Cert("ca"));
    daemon_ = Daemon::Start({"--tls_cert=" + certificates_.Cert("daemon"),
                             "--tls_key=" + certificates_.Key("daemon"),
                             "--tls_client_ca=" + trusted_});
  }

  // A client that trusts this CA and shows this certificate.
  absl::StatusOr<Client> Connect(const std::string& ca,
                                 const std::string& who) const {
    ClientOptions options;
    options.tls = client::TlsOptions{.ca = certificates_.Cert(ca),
                                     .cert = certificates_.Cert(who),
                                     .key = certificates_.Key(who)};
    return Client::Connect(daemon_->tcp(), options);
  }

  Certificates certificates_;
  std::string trusted_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(CertificateReloadTest, NewConnectionsGetTheNewOneAndOldOnesGoOn) {
  const auto before = Connect("ca", "worker");
  ASSERT_TRUE(before.ok()) << before.status();
  Certificates::Replace(certificates_.Key("daemon"), certificates_.Key("next"));
  Certificates::Replace(certificates_.Cert("daemon"),
                        certificates_.Cert("next"));
  Await("the new certificate",
        [&] { return Connect("next-ca", "worker").ok(); });
  EXPECT_EQ(Connect("ca", "worker").status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(before->GetServerInfo().ok());
  AwaitLog(*daemon_, "new certificates are in force");
}

TEST_F(CertificateReloadTest, WhomTheNewCaHasSignedIsLetInAndOthersAreNot) {
  EXPECT_EQ(Connect("ca", "next-worker").status().code(),
            absl::StatusCode::kUnauthenticated);
  Certificates::Replace(trusted_, certificates_.Cert("next-ca"));
  Await("the new CA", [&] { return Connect("ca", "next-worker").ok(); });
  EXPECT_EQ(Connect("ca", "worker").status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST_F(CertificateReloadTest, WhatIsBrokenKeepsTheOldAndIsTold) {
  // The certificate before its key; a file that is none; one that is gone.
  Certificates::Replace(certificates_.Cert("daemon"),
                        certificates_.Cert("next"));
  AwaitLog(*daemon_, "the certificates stay as they were: --tls_key=" +
                         certificates_.Key("daemon") + " is not the key");
  EXPECT_TRUE(Connect("ca", "worker").ok());
  certificates_.Write("daemon.pem", "no certificate");
  AwaitLog(*daemon_, "no certificate in PEM");
  EXPECT_TRUE(Connect("ca", "worker").ok());
  certificates_.Write("daemon.key", "");
  AwaitLog(*daemon_, "daemon.key: it is empty");
  EXPECT_TRUE(Connect("ca", "worker").ok());
  unlink(certificates_.Key("daemon").c_str());
  AwaitLog(*daemon_, "No such file");
  EXPECT_TRUE(Connect("ca", "worker").ok());
  Certificates::Replace(certificates_.Key("daemon"), certificates_.Key("next"));
  Certificates::Replace(certificates_.Cert("daemon"),
                        certificates_.Cert("next"));
  Await("the new certificate",
        [&] { return Connect("next-ca", "worker").ok(); });
}

TEST_F(CertificateReloadTest, ABrokenOneBehindTheFirstKeepsTheOld) {
  // gRPC would refuse them all; in place of them nobody could connect.
  const std::string sound = Certificates::Read(certificates_.Cert("daemon"));
  const std::string broken =
      "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  for (const std::string& rest : {broken, broken.substr(0, 30)}) {
    certificates_.Write("trusted.pem", Certificates::Read(trusted_) + rest);
    certificates_.Write("daemon.pem", sound + rest);
    AwaitLog(*daemon_, "--tls_cert=" + certificates_.Cert("daemon") +
                           ": a broken certificate");
    certificates_.Write("daemon.pem", sound);
    AwaitLog(*daemon_,
             "--tls_client_ca=" + trusted_ + ": a broken certificate");
    EXPECT_TRUE(Connect("ca", "worker").ok());
    Certificates::Replace(trusted_, certificates_.Cert("ca"));
  }
  EXPECT_EQ(daemon_->Log().find("in force"), std::string::npos);
}

TEST_F(CertificateReloadTest, OneThatOpensslRefusesKeepsTheOldAndIsTold) {
  certificates_.MakeWeak("weak");
  const std::string refused =
      "the certificates stay as they were: --tls_cert=" +
      certificates_.Cert("daemon") + ": OpenSSL refuses it: ";
  const std::string sound = Certificates::Read(certificates_.Cert("daemon"));
  const std::string weak = Certificates::Read(certificates_.Cert("weak"));
  certificates_.Write("daemon.pem", sound + weak);
  AwaitLog(*daemon_, refused + "ca key too small");
  EXPECT_TRUE(Connect("ca", "worker").ok());
  Certificates::Replace(certificates_.Key("daemon"), certificates_.Key("weak"));
  Certificates::Replace(certificates_.Cert("daemon"),
                        certificates_.Cert("weak"));
  AwaitLog(*daemon_, refused + "ee key too small");
  EXPECT_TRUE(Connect("ca", "worker").ok());
  EXPECT_EQ(daemon_->Log().find("in force"), std::string::npos);
}

TEST(CertificateTest, ADaemonDoesNotStartWithOneThatOpensslRefusesAndSaysSo) {
  Certificates certificates;
  certificates.MakeWeak("weak");
  const Finished refused =
      RunProgram({"accrued", "--listen=127.0.0.1:0", "--http=127.0.0.1:0",
                  "--tls_cert=" + certificates.Cert("weak"),
                  "--tls_key=" + certificates.Key("weak")});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.out + refused.err,
              HasSubstr("accrued cannot start: --tls_cert=" +
                        certificates.Cert("weak") +
                        ": OpenSSL refuses it: ee key too small"));
}

class TokenReloadTest : public testing::Test {
 protected:
  TokenReloadTest() {
    Write(kOld);
    daemon_ = Daemon::Start({"--token_file=" + file_});
  }

  void Write(const std::string& text, int mode = 0600) {
    file_ = certificates_.Write("tokens", text, mode);
  }
  absl::StatusCode Call(const std::string& token) const {
    ClientOptions options;
    options.token = token;
    return Client::Connect(daemon_->tcp(), options).status().code();
  }

  static constexpr char kOld[] =
      "- {name: old, token: the-token-of-before, role: pull}\n";
  static constexpr char kNew[] =
      "- {name: new, token: the-token-of-after, role: pull}\n";

  Certificates certificates_;
  std::string file_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(TokenReloadTest, CallsThatBeginAreJudgedByTheNewOnes) {
  EXPECT_EQ(Call("the-token-of-before"), absl::StatusCode::kOk);
  EXPECT_EQ(Call("the-token-of-after"), absl::StatusCode::kUnauthenticated);
  Write(kNew);
  Await("the new token",
        [&] { return Call("the-token-of-after") == absl::StatusCode::kOk; });
  EXPECT_EQ(Call("the-token-of-before"), absl::StatusCode::kUnauthenticated);
}

TEST_F(TokenReloadTest, WhatIsBrokenKeepsTheOldAndIsTold) {
  Write("- {name: broken, token: the-token-of-after");
  AwaitLog(*daemon_,
           "the tokens stay as they were: --token_file=" + file_ + ": no YAML");
  EXPECT_EQ(Call("the-token-of-before"), absl::StatusCode::kOk);
  Write(kNew, 0644);
  AwaitLog(*daemon_, "its mode is 0644");
  EXPECT_EQ(Call("the-token-of-before"), absl::StatusCode::kOk);
  EXPECT_EQ(Call("the-token-of-after"), absl::StatusCode::kUnauthenticated);
  Write(kNew);
  Await("the new token",
        [&] { return Call("the-token-of-after") == absl::StatusCode::kOk; });
  EXPECT_EQ(daemon_->Log().find("the-token-of"), std::string::npos);
}

// Its first lines alone would let their token in for every model.
TEST_F(TokenReloadTest, AFileThatIsBeingWrittenIsWaitedFor) {
  std::ofstream file(file_, std::ios::trunc);
  file << "- name: new\n  token: the-token-of-after\n  role: admin\n"
       << std::flush;
  // However long a call takes, no two looks find the same.
  std::jthread writer([&](const std::stop_token& enough) {
    const auto line = file.tellp();
    for (int64_t i = 0; !enough.stop_requested(); ++i) {
      file.seekp(line) << "  # " << i << "\n" << std::flush;
      std::this_thread::yield();
    }
  });
  // Longer than several looks take.
  const absl::Time done = absl::Now() + absl::Seconds(4);
  while (absl::Now() < done) {
    EXPECT_EQ(Call("the-token-of-after"), absl::StatusCode::kUnauthenticated);
    EXPECT_EQ(Call("the-token-of-before"), absl::StatusCode::kOk);
  }
  writer.request_stop();
  writer.join();
  file.seekp(0, std::ios::end) << "  models: [none]\n" << std::flush;
  Await("the new token",
        [&] { return Call("the-token-of-after") == absl::StatusCode::kOk; });
}

}  // namespace
}  // namespace accrue
