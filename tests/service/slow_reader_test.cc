// Pulls whose reader is slow, or takes nothing at all.
#include <cstdint>
#include <future>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "server/base/timer_queue.h"
#include "server/service/convert.h"
#include "tests/service/frozen_reader.h"
#include "tests/service/pull_fixture.h"

namespace accrue {
namespace {

// More than any buffers between the two ends hold.
constexpr int64_t kLargeElems = 8 << 20;

class SlowReaderTest : public PullCallTest {
 protected:
  SlowReaderTest() = default;
  explicit SlowReaderTest(const ServerOptions& options)
      : PullCallTest(options) {}

  v1::Version CreateLarge() {
    v1::ModelSpec spec = PlainSpec("m", kLargeElems);
    spec.set_max_publications(2);
    spec.set_max_staleness(-1);
    v1::CreateModelRequest create;
    *create.mutable_spec() = spec;
    v1::CreateModelResponse created;
    grpc::ClientContext create_context, context;
    EXPECT_TRUE(models_->CreateModel(&create_context, create, &created).ok());
    v1::InitializeModelResponse initialized;
    auto writer = models_->InitializeModel(&context, &initialized);
    v1::InitializeModelRequest request;
    request.mutable_header()->set_model("m");
    request.mutable_header()->add_initializers()->set_tensor("w");
    request.mutable_header()->mutable_initializers(0)->set_constant(1);
    writer->Write(request);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_TRUE(status.ok()) << Describe(status, context);
    return initialized.version();
  }
};

TEST_F(SlowReaderTest, UpdatesGoOnWhileAReaderStalls) {
  const v1::Version version = CreateLarge();
  grpc::ClientContext context;
  auto reader = workers_->Pull(&context, Request());
  v1::PullResponse response;
  ASSERT_TRUE(reader->Read(&response));  // and no more
  for (int i = 0; i < 4; ++i) {
    Update(version, kLargeElems);
    EXPECT_LE(Described().memory().publications(), 2);
  }
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::ABORTED);
  // Its connection is alive: the stream alone was ended.
  EXPECT_TRUE(Pull(Request()).status.ok());
}

TEST_F(SlowReaderTest, AReaderThatIsBehindButMovesOnIsToldWhy) {
  const v1::Version version = CreateLarge();
  v1::ErrorDetail detail;
  // An attempt fails if the pull ends before the second update wants its
  // memory, or if the reader is held up for longer than it is given to let go.
  for (int i = 0; i < 20 && detail.reason() == 0; ++i) {
    grpc::ClientContext context;
    auto reader = workers_->Pull(&context, Request());
    v1::PullResponse response;
    ASSERT_TRUE(reader->Read(&response));
    const int64_t before = response.header().version().number();
    std::thread updates([&] {
      Update(version, kLargeElems);
      Update(version, kLargeElems);
    });
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (Described().version().number() == before && absl::Now() < give_up) {
    }
    // From here on a message every few milliseconds.
    TimerQueue clock;
    while (reader->Read(&response)) {
      std::promise<void> tick;
      clock.At(absl::Now() + absl::Milliseconds(5), [&] { tick.set_value(); });
      tick.get_future().wait();
    }
    const grpc::Status status = reader->Finish();
    updates.join();
    detail = DetailOf(context);
    if (detail.reason() != 0) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
      EXPECT_EQ(detail.subject(), "m");
      EXPECT_EQ(detail.lineage(), version.lineage());
    }
  }
  EXPECT_EQ(detail.reason(), v1::ErrorDetail::REASON_SLOW_READER);
}

TEST_F(SlowReaderTest, AFrozenReadersConnectionIsClosed) {
  const v1::Version version = CreateLarge();
  const std::string address = server_->addresses()[0];
  FrozenReader reader(*SocketAddress::FromHostPort(address), Request());
  while (server_->live_call_count() == 0) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) {
    Update(version, kLargeElems);
    EXPECT_LE(Described().memory().publications(), 2);
  }
  reader.ReadToTheEnd();
}

class IdleReaderTest : public SlowReaderTest {
 protected:
  static ServerOptions ShortPatience() {
    ServerOptions options = Options();
    options.reader_idle_timeout = absl::Milliseconds(50);
    return options;
  }
  IdleReaderTest() : SlowReaderTest(ShortPatience()) {}
};

TEST_F(IdleReaderTest, AReaderThatTakesNothingIsEnded) {
  CreateLarge();
  grpc::ClientContext context;
  auto reader = workers_->Pull(&context, Request());
  v1::PullResponse response;
  ASSERT_TRUE(reader->Read(&response));
  while (server_->live_call_count() > 0) std::this_thread::yield();
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::ABORTED);
}

TEST_F(IdleReaderTest, AWaitIsNotIdling) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  *request.mutable_have() = version;
  *request.mutable_wait() = ToApi(absl::Milliseconds(200));
  EXPECT_TRUE(Pull(request).header.unchanged());
}

}  // namespace
}  // namespace accrue
