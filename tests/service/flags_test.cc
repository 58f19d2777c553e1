#include "server/flags.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FlagsTest : public testing::Test {
 protected:
  FlagsTest() {
    char name[] = "/tmp/accrue_flags_XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~FlagsTest() override {
    for (const std::string& name : set_) unsetenv(name.c_str());
    std::filesystem::remove_all(directory_);
  }

  void SetEnvironment(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    set_.push_back(name);
  }

  std::string Config(const std::string& text) {
    const std::string path = directory_ + "/accrued.yaml";
    std::ofstream(path) << text;
    return path;
  }

  static ParsedFlags Parse(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"accrued"};
    for (const std::string& argument : arguments) {
      argv.push_back(argument.c_str());
    }
    return ParseFlags(static_cast<int>(argv.size()), argv.data());
  }

  // What is printed when the arguments are refused.
  static std::string Refusal(const std::vector<std::string>& arguments) {
    testing::internal::CaptureStderr();
    const ParsedFlags parsed = Parse(arguments);
    std::string printed = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(parsed.exit_code.has_value());
    EXPECT_NE(parsed.exit_code.value_or(0), 0);
    return printed;
  }

  std::string directory_;
  std::vector<std::string> set_;
};

TEST_F(FlagsTest, WithoutFlagsItListensOnTheLoopbackOnly) {
  const ParsedFlags parsed = Parse({});
  ASSERT_FALSE(parsed.exit_code.has_value());
  const DaemonOptions& options = parsed.options;
  EXPECT_THAT(options.server.listener.tcp, ElementsAre("127.0.0.1:7700"));
  EXPECT_TRUE(options.server.listener.local_only);
  EXPECT_EQ(options.server.listener.unix_path, "");
  EXPECT_EQ(options.server.listener.unix_mode, 0600);
  EXPECT_EQ(options.http, "127.0.0.1:7701");
  EXPECT_EQ(options.drain_timeout, absl::Seconds(10));
  EXPECT_EQ(options.server.ingest.max_push_streams, 1024);
  EXPECT_EQ(options.server.max_data_connections, 1024);
  EXPECT_GT(options.server.state_memory_bytes, 0);
}

TEST_F(FlagsTest, EveryKindOfFlagIsRead) {
  const ParsedFlags parsed = Parse(
      {"--listen=127.0.0.1:1,127.0.0.1:2", "--listen=127.0.0.1:3",
       "--listen_uds=/tmp/s", "--insecure", "--ingest_memory=256MiB",
       "--state_memory", "1GB", "--push_idle_timeout=1.5s", "--threads=3",
       "--max_sessions=5", "--max_data_connections=0", "--log_level=debug"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  const ServerOptions& server = parsed.options.server;
  EXPECT_THAT(server.listener.tcp,
              ElementsAre("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"));
  EXPECT_EQ(server.listener.unix_path, "/tmp/s");
  EXPECT_FALSE(server.listener.local_only);
  EXPECT_EQ(server.ingest.ingest_memory_bytes, 256 << 20);
  EXPECT_EQ(server.state_memory_bytes, 1'000'000'000);
  EXPECT_EQ(server.max_data_connections, 0);
  EXPECT_EQ(server.ingest.push_idle_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(server.threads, 3);
  EXPECT_EQ(server.max_sessions, 5);
  EXPECT_EQ(parsed.options.log_level, "debug");
}

TEST_F(FlagsTest, TcpCanBeSwitchedOff) {
  EXPECT_THAT(Parse({"--listen=none"}).options.server.listener.tcp, IsEmpty());
}

TEST_F(FlagsTest, HttpIsElsewhereOrSwitchedOff) {
  EXPECT_EQ(Parse({"--http=127.0.0.1:1"}).options.http, "127.0.0.1:1");
  EXPECT_EQ(Parse({"--http=none"}).options.http, "");
  EXPECT_EQ(Parse({"--config=" + Config("http: 127.0.0.1:2\n")}).options.http,
            "127.0.0.1:2");
  SetEnvironment("ACCRUED_HTTP", "none");
  EXPECT_EQ(Parse({}).options.http, "");
}

TEST_F(FlagsTest, TheSocketsPermissionsAreOctal) {
  EXPECT_EQ(Parse({"--listen_uds_mode=0660"}).options.server.listener.unix_mode,
            0660);
  for (const auto& [text, mode] :
       {std::pair("660", 0660), {"0777", 0777}, {"0", 0}, {"600", 0600}}) {
    EXPECT_EQ(Parse({std::string("--listen_uds_mode=") + text})
                  .options.server.listener.unix_mode,
              mode);
  }
  SetEnvironment("ACCRUED_CONFIG", Config("listen_uds_mode: 0640\n"));
  EXPECT_EQ(Parse({}).options.server.listener.unix_mode, 0640);
  for (const char* bad : {"0999", "1000", "01777", "-1", "0x1ff", "rw", ""}) {
    EXPECT_THAT(Refusal({std::string("--listen_uds_mode=") + bad}),
                HasSubstr("listen_uds_mode"));
  }
}

TEST_F(FlagsTest, TheCommandLineWinsOverTheEnvironmentOverTheFile) {
  const std::string config = Config(
      "ingest_memory: 1MiB\nstate_memory: 2MiB\nstream_window: 3MiB\n"
      "max_models: 7\n");
  SetEnvironment("ACCRUED_STATE_MEMORY", "20MiB");
  SetEnvironment("ACCRUED_STREAM_WINDOW", "30MiB");
  const ParsedFlags parsed =
      Parse({"--config=" + config, "--stream_window=300MiB"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  const ServerOptions& server = parsed.options.server;
  EXPECT_EQ(server.ingest.ingest_memory_bytes, 1 << 20);
  EXPECT_EQ(server.state_memory_bytes, 20 << 20);
  EXPECT_EQ(server.stream_window_bytes, 300 << 20);
  EXPECT_EQ(server.max_models, 7);
}

TEST_F(FlagsTest, TheConfigFileKnowsListsAndSwitches) {
  SetEnvironment("ACCRUED_CONFIG", Config("listen: [127.0.0.1:1, 127.0.0.1:2]\n"
                                          "insecure: true\nlog_json: false\n"
                                          "drain_timeout: 3s  # a comment\n"));
  const ParsedFlags parsed = Parse({});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_THAT(parsed.options.server.listener.tcp,
              ElementsAre("127.0.0.1:1", "127.0.0.1:2"));
  EXPECT_FALSE(parsed.options.server.listener.local_only);
  EXPECT_FALSE(parsed.options.log_json);
  EXPECT_EQ(parsed.options.drain_timeout, absl::Seconds(3));
}

TEST_F(FlagsTest, AnEmptyConfigFileSaysNothing) {
  EXPECT_FALSE(Parse({"--config=" + Config("# nothing\n")}).exit_code);
}

TEST_F(FlagsTest, BadConfigFilesAreRefused) {
  EXPECT_THAT(Refusal({"--config=" + Config("colour: blue\n")}),
              HasSubstr("colour"));
  EXPECT_THAT(Refusal({"--config=" + Config("a: [b\n")}),
              HasSubstr("config file"));
  EXPECT_THAT(Refusal({"--config=" + Config("- a\n- b\n")}),
              HasSubstr("key: value"));
  EXPECT_THAT(Refusal({"--config=" + Config("listen: {a: b}\n")}),
              HasSubstr("listen"));
  EXPECT_THAT(Refusal({"--config=" + Config("threads: many\n")}),
              HasSubstr("threads"));
  EXPECT_THAT(Refusal({"--config=" + directory_ + "/absent"}),
              HasSubstr("absent"));
  SetEnvironment("ACCRUED_CONFIG", directory_ + "/absent");
  EXPECT_THAT(Refusal({}), HasSubstr("absent"));
}

TEST_F(FlagsTest, BadValuesAreRefusedByName) {
  for (const char* argument : {"--ingest_memory=0",
                               "--ingest_memory=12XB",
                               "--ingest_memory=MiB",
                               "--ingest_memory=9999999999GiB",
                               "--ingest_memory=-1MiB",
                               "--ingest_memory=2097152TiB",
                               "--stream_window=1KiB",
                               "--stream_window=2GiB",
                               "--max_push_streams=1073741825",
                               "--max_sessions=9999999999999999999",
                               "--push_idle_timeout=5",
                               "--push_idle_timeout=-1s",
                               "--threads=-1",
                               "--max_models=0",
                               "--max_data_connections=-1",
                               "--max_data_connections=1073741825",
                               "--device=gpu",
                               "--device=cuda:0,0",
                               "--device=cuda:-1",
                               "--log_level=loud",
                               "--drain_timeout=0s",
                               "--no_such_flag"}) {
    const std::string flag =
        std::string(argument).substr(0, std::string(argument).find('='));
    EXPECT_THAT(Refusal({argument}), HasSubstr(flag));
  }
  SetEnvironment("ACCRUED_THREADS", "many");
  EXPECT_THAT(Refusal({}), HasSubstr("threads"));
}

TEST_F(FlagsTest, TheDeviceIsAChoice) {
  EXPECT_EQ(Parse({}).options.server.backend.device, DeviceChoice());
  EXPECT_EQ(Parse({"--device=cuda:2,0"}).options.server.backend.device,
            (DeviceChoice{.kind = DeviceChoice::Kind::kCuda, .gpus = {2, 0}}));
  SetEnvironment("ACCRUED_DEVICE", "cpu");
  EXPECT_EQ(Parse({}).options.server.backend.device.kind,
            DeviceChoice::Kind::kCpu);
  EXPECT_EQ(Parse({"--config=" + Config("device: cuda:1\n"), "--device=cuda"})
                .options.server.backend.device,
            DeviceChoice{.kind = DeviceChoice::Kind::kCuda});
}

TEST_F(FlagsTest, TheDeviceComesFromTheConfigFileToo) {
  EXPECT_EQ(Parse({"--config=" + Config("device: cuda:0,1\n")})
                .options.server.backend.device,
            (DeviceChoice{.kind = DeviceChoice::Kind::kCuda, .gpus = {0, 1}}));
}

TEST_F(FlagsTest, WhoIsLetInIsSaidByFilesAlone) {
  EXPECT_FALSE(Parse({}).options.server.credentials.tls.enabled());
  SetEnvironment("ACCRUED_TLS_KEY", "key.pem");
  const CredentialOptions credentials =
      Parse({"--config=" + Config("tls_cert: cert.pem\n"),
             "--tls_client_ca=ca.pem", "--token_file=tokens"})
          .options.server.credentials;
  EXPECT_EQ(credentials.tls.cert, "cert.pem");
  EXPECT_EQ(credentials.tls.key, "key.pem");
  EXPECT_EQ(credentials.tls.client_ca, "ca.pem");
  EXPECT_EQ(credentials.token_file, "tokens");
  // A command line is everybody's to read.
  EXPECT_THAT(Refusal({"--token=secret"}), HasSubstr("--token"));
}

TEST_F(FlagsTest, HelpAndVersionEndWithSuccess) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_EQ(Parse({"--version"}).exit_code, 0);
  const std::string printed = testing::internal::GetCapturedStdout();
  EXPECT_THAT(printed, HasSubstr("--ingest_memory"));
  EXPECT_THAT(printed, HasSubstr("accrued 0."));
}

}  // namespace
}  // namespace accrue
