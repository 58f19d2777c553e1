// A session taken over while its push is on its way, through the real daemon:
// the push was folded before the new session was answered, or it is fenced and
// leaves nothing.
#include <atomic>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kElems = 1 << 20;
#else
constexpr int64_t kElems = 8 << 20;  // 32 MiB
#endif
constexpr int kRounds = 24;
constexpr int kBusyWorkers = 3;
constexpr char kModel[] = "model";

// What is pushed is zero but for one element, each push's own. Without
// momentum, with a gain of (1 - d)/k = 2^-4 and a learning rate of 2^-1, that
// element becomes -2^-5 exactly, in whatever order pushes are folded; a push
// that is lost or folded twice shows in it.
constexpr float kFolded = -0x1p-5f;

v1::ModelSpec Spec() {
  v1::ModelSpec spec = Wire::Spec(kModel, kElems, 4);
  v1::Hyperparameters& hyper =
      *spec.mutable_groups(0)->mutable_hyperparameters();
  hyper.set_beta1(0);
  hyper.set_dampening(0.75);
  spec.set_max_staleness(-1);
  return spec;
}

// The bytes of a one-hot gradient; the element can be moved.
class OneHot {
 public:
  const std::string& At(int64_t element) {
    Set(element_, 0);
    Set(element, 1);
    element_ = element;
    return bytes_;
  }

 private:
  void Set(int64_t element, float value) {
    std::memcpy(&bytes_[static_cast<size_t>(element) * sizeof(float)], &value,
                sizeof(float));
  }

  std::string bytes_ = std::string(kElems * sizeof(float), '\0');
  int64_t element_ = 0;
};

v1::PushHeader Header(const v1::Version& version, const std::string& session,
                      int64_t sequence) {
  v1::PushHeader header;
  header.set_model(kModel);
  header.set_session_id(session);
  header.set_sequence(sequence);
  *header.mutable_version() = version;
  header.set_encoding(v1::ENCODING_F32);
  header.set_payload_bytes(kElems * 4);
  return header;
}

class TakeoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_ = Daemon::Start();
    ASSERT_NE(daemon_, nullptr);
    wire_ = std::make_unique<Wire>(daemon_->tcp());
    wire_->Make(Spec());
    first_ = wire_->Describe(kModel).version();
  }

  // Pushes one after the other, so that others find the executor busy. The
  // number of pushes.
  int64_t KeepBusy(int worker, const std::atomic<bool>& stop) {
    Wire wire(worker % 2 == 0 ? daemon_->tcp() : daemon_->uds());
    const std::string session = wire.Open(kModel, absl::StrCat("busy", worker));
    OneHot gradient;
    int64_t pushes = 0;
    while (!stop) {
      const Ending ending = wire.Push(Header(first_, session, pushes + 1),
                                      gradient.At(BusyElement(worker, pushes)));
      EXPECT_TRUE(ending.status.ok()) << ending.status.error_message();
      if (!ending.status.ok()) break;
      ++pushes;
    }
    return pushes;
  }

  static int64_t BusyElement(int worker, int64_t push) {
    return kElems / (kBusyWorkers + 1) * (worker + 1) + push;
  }

  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Wire> wire_;
  v1::Version first_;
};

TEST_F(TakeoverTest, APushIsFoldedBeforeTheNewSessionOrNotAtAll) {
  std::atomic<bool> stop{false};
  std::vector<int64_t> busy_pushes(kBusyWorkers);
  std::vector<std::thread> busy;
  for (int i = 0; i < kBusyWorkers; ++i) {
    busy.emplace_back([&, i] { busy_pushes[i] = KeepBusy(i, stop); });
  }

  std::vector<float> expected(kElems, 0);
  int folded_rounds = 0, queued_rounds = 0, fenced_rounds = 0;
  Wire other(daemon_->uds());
  OneHot gradient;
  std::string session = wire_->Open(kModel, "a");
  for (int round = 0; round < kRounds; ++round) {
    const std::string& payload = gradient.At(round);
    const bool whole = round % 2 == 0;
    Wire::HalfPush push(*wire_, Header(first_, session, 1), payload,
                        whole ? payload.size() : payload.size() / 2);
    if (whole) push.FinishSending();
    v1::PushResponse response;
    Ending ending;
    std::thread sender([&] {
      if (!whole) push.FinishSending();
      ending = push.Finish(&response);
    });
    const int64_t folded_before = other.Describe(kModel).folded_pushes();
    v1::OpenSessionResponse opened;
    EXPECT_TRUE(other.TryOpen(kModel, "a", "", &opened).status.ok());
    const int64_t folded_by_then = other.Describe(kModel).folded_pushes();
    sender.join();
    EXPECT_NE(opened.session_id(), session);
    EXPECT_EQ(opened.last_sequence(), 0);

    if (ending.status.ok()) {
      EXPECT_LE(response.folded_pushes(), folded_by_then);
      EXPECT_FALSE(response.duplicate());
      expected[static_cast<size_t>(round)] = kFolded;
      ++folded_rounds;
      // It was not folded yet right before the takeover was asked for.
      if (response.folded_pushes() > folded_before) ++queued_rounds;
    } else {
      ExpectRefused(ending, StatusCode::ABORTED, Detail::REASON_SESSION_FENCED);
      ++fenced_rounds;
    }
    // Whoever has lost the session is told, whatever became of its push.
    ExpectRefused(wire_->TryOpen(kModel, "a", session), StatusCode::ABORTED,
                  Detail::REASON_SESSION_FENCED);
    session = opened.session_id();
  }
  stop = true;
  for (std::thread& worker : busy) worker.join();
  std::cout << "of " << kRounds << " pushes of old sessions " << folded_rounds
            << " were folded, " << queued_rounds
            << " of them not yet when they were taken over, and "
            << fenced_rounds << " fenced\n";
  EXPECT_GT(queued_rounds, 0);
  EXPECT_GT(fenced_rounds, 0);

  int64_t all = folded_rounds;
  for (int worker = 0; worker < kBusyWorkers; ++worker) {
    all += busy_pushes[worker];
    for (int64_t push = 0; push < busy_pushes[worker]; ++push) {
      expected[static_cast<size_t>(BusyElement(worker, push))] = kFolded;
    }
  }
  // The newest session works, on either connection.
  EXPECT_TRUE(wire_->Push(Header(first_, session, 1), gradient.At(kRounds))
                  .status.ok());
  expected[kRounds] = kFolded;
  EXPECT_EQ(wire_->Describe(kModel).folded_pushes(), all + 1);
  wire_->EndCycle(kModel);
  EXPECT_TRUE(wire_->Parameters(kModel) == FloatBytes(expected));
}

}  // namespace
}  // namespace accrue
