// A daemon that is stopped (SIGSTOP) in the middle of things: the kernel still
// accepts connections and bytes for it, until its buffers are full.

#include <atomic>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "client/cpp/src/connection.h"
#include "client/cpp/src/raw_call.h"
#include "client/cpp/src/target.h"
#include "tests/client/fixture.h"

extern char** environ;

namespace accrue::client {
namespace {

// What a busy machine may add to a bound of about 0.1 s.
constexpr absl::Duration kSlack = absl::Seconds(8);

class DaemonProcess {
 public:
  DaemonProcess() {
    int input[2];
    int output[2];
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) {
      std::abort();
    }
    const std::string program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() /
        "fake_daemon_main";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    char* const arguments[] = {const_cast<char*>(program.c_str()), nullptr};
    if (posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments,
                    environ) != 0) {
      std::abort();
    }
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(output[1]);
    input_ = input[1];
    char c;
    while (read(output[0], &c, 1) == 1 && c != '\n') target_ += c;
    close(output[0]);
  }

  ~DaemonProcess() {
    Thaw();
    close(input_);
    waitpid(pid_, nullptr, 0);
  }

  void Freeze() {
    kill(pid_, SIGSTOP);
    int status;
    waitpid(pid_, &status, WUNTRACED);
  }
  void Thaw() { kill(pid_, SIGCONT); }
  const std::string& target() const { return target_; }

 private:
  pid_t pid_ = 0;
  int input_ = -1;
  std::string target_;
};

class FrozenDaemonTest : public testing::Test {
 protected:
  DaemonProcess daemon_;
  const Version kVersion = {.lineage = std::string(32, 'a'), .number = 3};
};

TEST_F(FrozenDaemonTest, APushReturnsWithItsTimeoutAndIsMadeGoodLater) {
  const Client client =
      ValueOf(Client::Connect(daemon_.target(), QuickOptions()));
  Worker worker =
      ValueOf(ValueOf(client.CreateOrOpen(SmallSpec())).OpenWorker());
  // Far more than the sockets' buffers hold, far less than the stream's window:
  // it is the transport's write that blocks.
  const std::vector<float> gradient(16 << 20);
  daemon_.Freeze();
  const absl::Time start = absl::Now();
  const absl::Status status =
      worker
          .Push(gradient,
                {.version = kVersion, .timeout = absl::Milliseconds(500)})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(500) + kSlack);
  EXPECT_FALSE(worker.in_doubt());
  daemon_.Thaw();
  const PushResult result =
      ValueOf(worker.Push(gradient, {.version = kVersion}));
  EXPECT_TRUE(result.accepted);
  EXPECT_EQ(result.folded_pushes, 1);
}

TEST_F(FrozenDaemonTest, OtherCallsOfTheConnectionEndInTimeToo) {
  ClientOptions options = QuickOptions();
  options.call_timeout = absl::Milliseconds(300);
  const Client client = ValueOf(Client::Connect(daemon_.target(), options));
  const Model model = ValueOf(client.CreateOrOpen(SmallSpec()));
  Worker worker = ValueOf(model.OpenWorker());
  const std::vector<float> gradient(16 << 20);
  daemon_.Freeze();
  // Fills the connection, and cuts it only after these calls have ended.
  PendingPush pending = worker.PushAsync(
      gradient, {.version = kVersion, .timeout = absl::Seconds(2)});
  const absl::Time start = absl::Now();
  EXPECT_FALSE(client.GetServerInfo().ok());
  std::vector<float> parameters(17);
  EXPECT_FALSE(
      model.Pull(&parameters, {.timeout = absl::Milliseconds(300)}).ok());
  EXPECT_FALSE(model.OpenWorker().ok());
  EXPECT_LT(absl::Now() - start, absl::Seconds(1) + kSlack);
  EXPECT_FALSE(pending.Wait().ok());
}

TEST_F(FrozenDaemonTest, ConnectGivesUp) {
  daemon_.Freeze();
  ClientOptions options = QuickOptions();
  options.connect_timeout = absl::Milliseconds(200);
  const absl::Time start = absl::Now();
  EXPECT_FALSE(Client::Connect(daemon_.target(), options).ok());
  EXPECT_LT(absl::Now() - start, kSlack);
}

// Fills the connection with slices that count their releases.
struct CountedSlices {
  static constexpr int kCount = 64;
  std::vector<char> memory = std::vector<char>(1 << 20);
  std::atomic<int64_t> held = 0;

  bool Fill(internal::RawCall& call) {
    for (int i = 0; i < kCount; ++i) {
      held.fetch_add(1);
      const grpc::Slice slice(
          memory.data(), memory.size(),
          [](void* held) {
            static_cast<std::atomic<int64_t>*>(held)->fetch_sub(1);
          },
          &held);
      if (!call.Write(grpc::ByteBuffer(&slice, 1), /*last=*/false)) {
        return false;
      }
    }
    return true;
  }
};

TEST_F(FrozenDaemonTest, AtTheDeadlineEverySliceIsGivenBack) {
  const auto target = ValueOf(internal::Target::Parse(daemon_.target()));
  const auto connection = ValueOf(internal::Connection::Open(
      target, QuickOptions(), absl::Now() + absl::Seconds(20)));
  daemon_.Freeze();
  CountedSlices slices;
  const absl::Time start = absl::Now();
  internal::RawCall call(connection, "/accrue.v1.WorkerService/Push",
                         start + absl::Milliseconds(300));
  EXPECT_FALSE(slices.Fill(call));
  EXPECT_EQ(call.Finish().code(), absl::StatusCode::kDeadlineExceeded);
  call.AwaitRelease(slices.held);
  EXPECT_EQ(slices.held, 0);
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(300) + kSlack);
}

TEST_F(FrozenDaemonTest, KeepaliveEndsACallLongBeforeItsDeadline) {
  ClientOptions options = QuickOptions();
  options.keepalive_time = absl::Milliseconds(200);
  options.keepalive_timeout = absl::Milliseconds(200);
  const auto target = ValueOf(internal::Target::Parse(daemon_.target()));
  const auto connection = ValueOf(internal::Connection::Open(
      target, options, absl::Now() + absl::Seconds(20)));
  daemon_.Freeze();
  CountedSlices slices;
  const absl::Time start = absl::Now();
  internal::RawCall call(connection, "/accrue.v1.WorkerService/Push",
                         start + absl::Hours(1));
  EXPECT_FALSE(slices.Fill(call));
  EXPECT_EQ(call.Finish().code(), absl::StatusCode::kUnavailable);
  call.AwaitRelease(slices.held);
  EXPECT_EQ(slices.held, 0);
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(400) + kSlack);
  EXPECT_FALSE(connection->usable());
}

}  // namespace
}  // namespace accrue::client
