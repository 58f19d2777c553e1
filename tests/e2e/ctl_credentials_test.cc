// accruectl with certificates and tokens.

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using testing::HasSubstr;

class CtlCredentialsTest : public testing::Test {
 protected:
  CtlCredentialsTest() {
    files_.MakeCa("ca");
    files_.MakeCa("other-ca");
    files_.Make("daemon", "ca");
    files_.Make("operator", "ca");
    daemon_ = Daemon::Start(
        {"--tls_cert=" + files_.Cert("daemon"),
         "--tls_key=" + files_.Key("daemon"),
         "--tls_client_ca=" + files_.Cert("ca"),
         "--token_file=" +
             files_.Write(
                 "tokens",
                 "- {name: ops, token: the-token-of-ops, role: admin}\n"
                 "- {name: eye, token: the-token-of-eye, role: pull}\n")});
    ops_ = files_.Write("ops", "the-token-of-ops\n");
    eye_ = files_.Write("eye", "the-token-of-eye\n");
  }

  Finished Run(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"accruectl", "--target=" + daemon_->tcp()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return RunProgram(all);
  }
  std::vector<std::string> Flags(const std::string& ca,
                                 const std::string& token) const {
    return {"--tls_ca=" + files_.Cert(ca),
            "--tls_cert=" + files_.Cert("operator"),
            "--tls_key=" + files_.Key("operator"), "--token_file=" + token};
  }
  Finished Run(std::vector<std::string> flags, const std::string& command,
               const std::string& argument = "") const {
    flags.push_back(command);
    if (!argument.empty()) flags.push_back(argument);
    return Run(flags);
  }

  Certificates files_;
  std::unique_ptr<Daemon> daemon_;
  std::string ops_, eye_;
};

TEST_F(CtlCredentialsTest, ItsFlagsLetItIn) {
  const Finished listed = Run(Flags("ca", eye_), "list");
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  const std::string spec = std::string(std::getenv("ACCRUE_SOURCE_DIR")) +
                           "/client/ctl/example.yaml";
  const Finished denied = Run(Flags("ca", eye_), "create", spec);
  EXPECT_EQ(denied.exit_code, 1);
  EXPECT_THAT(denied.err, HasSubstr("PERMISSION_DENIED"));
  const Finished created = Run(Flags("ca", ops_), "create", spec);
  EXPECT_EQ(created.exit_code, 0) << created.err;
}

TEST_F(CtlCredentialsTest, SoDoItsEnvironmentVariables) {
  const std::vector<std::pair<const char*, std::string>> variables = {
      {"ACCRUE_TLS_CA", files_.Cert("ca")},
      {"ACCRUE_TLS_CERT", files_.Cert("operator")},
      {"ACCRUE_TLS_KEY", files_.Key("operator")},
      {"ACCRUE_TOKEN_FILE", eye_}};
  for (const auto& [name, value] : variables) setenv(name, value.c_str(), 1);
  const Finished listed = Run({"list"});
  for (const auto& [name, value] : variables) unsetenv(name);
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
}

TEST_F(CtlCredentialsTest, WhatIsWrongIsSaidAtOnce) {
  std::vector<std::string> patient = Flags("other-ca", ops_);
  patient.push_back("--timeout=10m");
  const Finished untrusted = Run(patient, "list");
  EXPECT_EQ(untrusted.exit_code, 1);
  EXPECT_THAT(untrusted.err, HasSubstr("UNAUTHENTICATED"));
  EXPECT_THAT(untrusted.err, HasSubstr("is not accepted"));
  const Finished nobody = Run({"--tls_ca=" + files_.Cert("ca"), "list"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("asks for a client's certificate"));
  const Finished absent = Run(Flags("ca", "/no/such/token"), "list");
  EXPECT_EQ(absent.exit_code, 4);
  EXPECT_THAT(absent.err, HasSubstr("/no/such/token"));
  const Finished half = Run({"--tls_cert=" + files_.Cert("operator"), "list"});
  EXPECT_EQ(half.exit_code, 2);
}

// More than the sockets and windows between two processes hold.
constexpr int64_t kLargeElems = 16 << 20;

class StalledTest : public testing::Test {
 protected:
  StalledTest() {
    files_.MakeCa("ca");
    files_.Make("daemon", "ca");
    daemon_ = Daemon::Start({"--tls_cert=" + files_.Cert("daemon"),
                             "--tls_key=" + files_.Key("daemon"),
                             "--drain_timeout=1s"});
  }

  Certificates files_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(StalledTest, UpdatesGoOnWhileAReaderWithTlsTakesNothing) {
  Wire wire(daemon_->uds());
  v1::ModelSpec spec = Wire::Spec("large", kLargeElems, 1);
  spec.set_max_publications(2);
  wire.Make(spec);
  const auto reader =
      Program::Start({"accruectl", "--target=" + daemon_->tcp(),
                      "--tls_ca=" + files_.Cert("ca"), "export", "large",
                      daemon_->directory() + "/large.safetensors"});
  ASSERT_NE(reader, nullptr);
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (wire.Describe("large").traffic().pull_request_bytes() == 0) {
    ASSERT_LT(absl::Now(), deadline);
  }
  reader->Signal(SIGSTOP);
  const std::string session = wire.Open("large", "w");
  const std::vector<float> gradient(kLargeElems, 1.0f);
  for (int64_t push = 1; push <= 3; ++push) {
    const Ending ending = wire.Push(
        wire.Header("large", session, push, gradient), FloatBytes(gradient));
    ASSERT_TRUE(ending.status.ok()) << ending.status.error_message();
  }
  const v1::Model model = wire.Describe("large");
  EXPECT_LE(model.memory().publications(), 2);
  // It was stopped in time: otherwise this has shown nothing.
  EXPECT_LT(model.traffic().pull_response_bytes(), kLargeElems * 4);
}

}  // namespace
}  // namespace accrue
