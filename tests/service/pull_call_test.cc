#include <future>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "absl/time/clock.h"
#include "server/base/timer_queue.h"
#include "server/service/convert.h"
#include "server/service/publication_stream.h"
#include "tests/service/frozen_reader.h"
#include "tests/service/service_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class PullCallTest : public ServiceFixture {
 protected:
  PullCallTest() = default;
  explicit PullCallTest(const ServerOptions& options)
      : ServiceFixture(options) {}

  static v1::PullRequest Request(const std::string& model = "m") {
    v1::PullRequest request;
    request.set_model(model);
    request.set_encoding(v1::ENCODING_F32);
    return request;
  }

  // One push that publishes.
  void Update(const v1::Version& version, int64_t elems) {
    if (session_.empty()) session_ = OpenSession("m", "w");
    grpc::ClientContext context;
    v1::PushResponse response;
    const grpc::Status status =
        Push(&context, HeaderFor("m", session_, ++sequence_, version, elems),
             std::string(static_cast<size_t>(elems) * 4, '\0'), &response);
    EXPECT_TRUE(status.ok()) << Describe(status, context);
    EXPECT_TRUE(response.published());
  }

  v1::Model Described() {
    v1::GetModelRequest request;
    request.set_model("m");
    v1::GetModelResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(models_->GetModel(&context, request, &response).ok());
    return response.model();
  }

  std::string session_;
  int64_t sequence_ = 0;
};

TEST_F(PullCallTest, SendsTheTensorsAskedForInTheSpecsOrder) {
  v1::ModelSpec spec = PlainSpec("m", 2);
  *spec.add_groups() = spec.groups(0);
  spec.mutable_groups(1)->set_name("other");
  for (const char* name : {"x", "y", "z"}) {
    v1::TensorSpec& tensor = *spec.add_tensors();
    tensor.set_name(name);
    tensor.set_group(name[0] == 'y' ? "other" : "all");
  }
  const v1::Version version = CreateInitialized(spec, {1, 2, 3, 4, 5});
  const Pulled all = Pull(Request());
  ASSERT_TRUE(all.status.ok()) << all.description;
  EXPECT_THAT(Floats(all.bytes), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(all.header.payload_bytes(), 20);
  EXPECT_EQ(all.header.version().lineage(), version.lineage());
  EXPECT_EQ(all.header.version().number(), 0);
  EXPECT_FALSE(all.header.unchanged());
  EXPECT_EQ(all.messages, 1);

  v1::PullRequest request = Request();
  for (const char* name : {"z", "y", "w", "z"}) request.add_tensors(name);
  EXPECT_THAT(Floats(Pull(request).bytes), ElementsAre(1, 2, 4, 5));

  request.add_tensors("absent");
  EXPECT_THAT(Pull(request).description,
              StartsWith("INVALID_ARGUMENT WRONG_SHAPE: model \"m\": 5 tensors "
                         "asked for, it has 4"));
  request.mutable_tensors()->RemoveLast();
  request.set_tensors(0, "absent");
  EXPECT_THAT(Pull(request).description,
              StartsWith("INVALID_ARGUMENT WRONG_SHAPE: model \"m\": no tensor "
                         "\"absent\""));
}

TEST_F(PullCallTest, CountsItsRequestHoweverItIsAnswered) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest absent = Request();
  absent.add_tensors("absent");
  v1::PullRequest encoding = Request();
  encoding.set_encoding(v1::ENCODING_INT8);
  v1::PullRequest wait = Request();
  wait.mutable_wait()->set_seconds(-1);
  v1::PullRequest stranger = Request();
  stranger.set_model("nobody");
  int64_t bytes = 0;
  for (const v1::PullRequest& request :
       {Request(), absent, encoding, wait, stranger}) {
    Pull(request);
    if (request.model() == "m") {
      bytes += static_cast<int64_t>(request.ByteSizeLong());
    }
  }
  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.set_model("m");
  v1::GetModelResponse response;
  ASSERT_TRUE(models_->GetModel(&context, request, &response).ok());
  EXPECT_EQ(response.model().traffic().pull_request_bytes(), bytes);
}

TEST_F(PullCallTest, SendsEveryEncoding) {
  CreateInitialized(PlainSpec("m", 3), {1, -2, 0.5});
  v1::PullRequest request = Request();
  request.set_encoding(v1::ENCODING_BF16);
  for (int i = 0; i < 2; ++i) {  // made, then found made
    EXPECT_EQ(Pull(request).bytes, std::string("\x80\x3f\x00\xc0\x00\x3f", 6));
  }
  request.set_encoding(v1::ENCODING_F16);
  EXPECT_EQ(Pull(request).bytes, std::string("\x00\x3c\x00\xc0\x00\x38", 6));
  request.set_encoding(v1::ENCODING_UNSPECIFIED);
  EXPECT_THAT(Pull(request).description,
              StartsWith("INVALID_ARGUMENT UNSPECIFIED: encoding"));
}

TEST_F(PullCallTest, ALargeModelComesInManyMessages) {
  constexpr int64_t kChunkElems = PublicationStream::kChunkBytes / 4;
  for (const int64_t elems :
       {kChunkElems - 1, kChunkElems, kChunkElems + 1, 3 * kChunkElems + 7}) {
    const std::string name = "m" + std::to_string(elems);
    std::vector<float> values(static_cast<size_t>(elems));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(i);
    }
    // Sent in chunks, as a client must.
    v1::CreateModelRequest create;
    *create.mutable_spec() = PlainSpec(name, elems);
    v1::CreateModelResponse created;
    grpc::ClientContext create_context, context;
    ASSERT_TRUE(models_->CreateModel(&create_context, create, &created).ok());
    v1::InitializeModelResponse initialized;
    auto writer = models_->InitializeModel(&context, &initialized);
    v1::InitializeModelRequest part;
    part.mutable_header()->set_model(name);
    part.mutable_header()->set_encoding(v1::ENCODING_F32);
    part.mutable_header()->set_payload_bytes(elems * 4);
    const std::string bytes = FloatBytes(values);
    for (size_t at = 0; at < bytes.size(); at += 300'000) {
      part.set_chunk(bytes.substr(at, 300'000));
      ASSERT_TRUE(writer->Write(part));
      part.clear_header();
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    ASSERT_TRUE(status.ok()) << Describe(status, context);

    const Pulled pulled = Pull(Request(name));
    ASSERT_TRUE(pulled.status.ok()) << pulled.description;
    EXPECT_EQ(pulled.header.payload_bytes(), elems * 4);
    EXPECT_EQ(pulled.messages, (elems + kChunkElems - 1) / kChunkElems);
    EXPECT_TRUE(pulled.bytes == bytes);
  }
}

TEST_F(PullCallTest, CountsWhatItSent) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  Pull(Request());
  v1::PullRequest unchanged = Request();
  *unchanged.mutable_have() = version;
  Pull(unchanged);
  // Counted when gRPC is done with the call, which may be after the client is.
  while (Described().sent_bytes() == 0) {
  }
  EXPECT_EQ(Described().sent_bytes(), 12);
}

TEST_F(PullCallTest, AnUnchangedVersionCostsOneSmallMessage) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  *request.mutable_have() = version;
  const Pulled pulled = Pull(request);
  ASSERT_TRUE(pulled.status.ok()) << pulled.description;
  EXPECT_TRUE(pulled.header.unchanged());
  EXPECT_EQ(pulled.header.version().number(), 0);
  EXPECT_EQ(pulled.header.version().lineage(), version.lineage());
  EXPECT_THAT(pulled.bytes, IsEmpty());
  EXPECT_EQ(pulled.messages, 1);
}

TEST_F(PullCallTest, AWaitEndsUnchangedOrWithTheNextVersion) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  *request.mutable_have() = version;
  *request.mutable_wait() = ToApi(absl::Milliseconds(20));
  const absl::Time start = absl::Now();
  EXPECT_TRUE(Pull(request).header.unchanged());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(20));

  *request.mutable_wait() = ToApi(absl::Hours(1));
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      const Pulled pulled = Pull(request);
      EXPECT_TRUE(pulled.status.ok()) << pulled.description;
      EXPECT_EQ(pulled.header.version().number(), 1);
      EXPECT_EQ(pulled.header.folded_pushes(), 1);
      EXPECT_EQ(pulled.bytes.size(), 12U);
    });
  }
  while (server_->live_call_count() < 4) std::this_thread::yield();
  Update(version, 3);
  for (std::thread& reader : readers) reader.join();
}

// Groups that update at every push, at every second and at every fourth, of one
// element each; the value of each is its place.
class ChangedOnlyTest : public PullCallTest {
 protected:
  ChangedOnlyTest() {
    v1::ModelSpec spec = PlainSpec("m", 1);
    for (const int64_t k : {2, 4}) {
      *spec.add_groups() = spec.groups(0);
      v1::GroupSpec& group = *spec.mutable_groups(spec.groups_size() - 1);
      group.set_name("k" + std::to_string(k));
      group.set_k(k);
    }
    for (const char* group : {"k2", "k4", "k2"}) {
      v1::TensorSpec& tensor = *spec.add_tensors();
      tensor.set_name("t" + std::to_string(spec.tensors_size() - 1));
      tensor.set_group(group);
    }
    first_ = CreateInitialized(spec, {0, 1, 2, 3});
  }

  v1::PullRequest Since(int64_t number,
                        const std::vector<std::string>& tensors = {}) {
    v1::PullRequest request = Request();
    *request.mutable_have() = first_;
    request.mutable_have()->set_number(number);
    request.set_changed_only(true);
    for (const std::string& tensor : tensors) request.add_tensors(tensor);
    return request;
  }

  v1::Version first_;
};

TEST_F(ChangedOnlyTest, SendsWhatHasChangedOfWhatIsAskedFor) {
  Update(first_, 4);
  const Pulled one = Pull(Since(0));
  EXPECT_TRUE(one.header.changed_only());
  EXPECT_THAT(one.header.changed_groups(), ElementsAre(0));
  EXPECT_THAT(Floats(one.bytes), ElementsAre(0));
  Update(one.header.version(), 4);
  const Pulled two = Pull(Since(0));
  EXPECT_THAT(two.header.changed_groups(), ElementsAre(0, 1));
  EXPECT_THAT(Floats(two.bytes), ElementsAre(0, 1, 3));

  // In the spec's order, whatever the order in which they are named.
  EXPECT_THAT(Floats(Pull(Since(0, {"t3", "t2", "w"})).bytes),
              ElementsAre(0, 3));
  EXPECT_THAT(Floats(Pull(Since(1, {"t2", "t1"})).bytes), ElementsAre(1));
  // Nothing of it has changed, but the version has.
  const Pulled none = Pull(Since(0, {"t2"}));
  ASSERT_TRUE(none.status.ok()) << none.description;
  EXPECT_FALSE(none.header.unchanged());
  EXPECT_EQ(none.header.version().number(), 2);
  EXPECT_EQ(none.header.payload_bytes(), 0);
  EXPECT_THAT(none.bytes, IsEmpty());
  // The newest is at hand.
  EXPECT_TRUE(Pull(Since(2, {"t1"})).header.unchanged());
  // Of another lineage, or of none, everything counts as changed.
  v1::PullRequest other = Since(1, {"t2"});
  other.mutable_have()->set_lineage("00000000000000000000000000000000");
  EXPECT_THAT(Floats(Pull(other).bytes), ElementsAre(2));
  other.clear_have();
  const Pulled all = Pull(other);
  EXPECT_THAT(Floats(all.bytes), ElementsAre(2));
  EXPECT_THAT(all.header.changed_groups(), ElementsAre(0, 1, 2));
}

// What has changed is decided when the wait ends, by what came then.
TEST_F(ChangedOnlyTest, AWaitEndsWithWhatTheNextVersionChanged) {
  v1::PullRequest all = Since(0), some = Since(0, {"t2", "t3"});
  for (v1::PullRequest* request : {&all, &some}) {
    *request->mutable_wait() = ToApi(absl::Hours(1));
  }
  Pulled first, second;
  const auto await = [&](const auto& update) {
    std::thread one([&] { first = Pull(all); });
    std::thread other([&] { second = Pull(some); });
    while (server_->live_call_count() < 2) std::this_thread::yield();
    update();
    one.join();
    other.join();
  };
  await([&] { Update(first_, 4); });
  EXPECT_THAT(first.header.changed_groups(), ElementsAre(0));
  EXPECT_THAT(Floats(first.bytes), ElementsAre(0));
  EXPECT_EQ(second.header.version().number(), 1);
  EXPECT_FALSE(second.header.unchanged());
  EXPECT_THAT(second.bytes, IsEmpty());

  const v1::Version now = first.header.version();
  *all.mutable_have() = *some.mutable_have() = now;
  while (server_->live_call_count() > 0) std::this_thread::yield();
  await([&] { Update(now, 4); });
  EXPECT_THAT(Floats(first.bytes), ElementsAre(0, 1, 3));
  EXPECT_THAT(second.header.changed_groups(), ElementsAre(0, 1));
  EXPECT_THAT(Floats(second.bytes), ElementsAre(3));

  // An end without news is the same with a filter as without.
  *some.mutable_have() = first.header.version();
  *some.mutable_wait() = ToApi(absl::Milliseconds(5));
  EXPECT_TRUE(Pull(some).header.unchanged());
}

TEST_F(PullCallTest, AWaitEndsWithTheModel) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  *request.mutable_have() = version;
  *request.mutable_wait() = ToApi(absl::Hours(1));
  std::thread reader([&] {
    EXPECT_THAT(Pull(request).description,
                StartsWith("NOT_FOUND MODEL_UNKNOWN"));
  });
  while (server_->live_call_count() < 1) std::this_thread::yield();
  v1::DeleteModelRequest deletion;
  deletion.set_model("m");
  v1::DeleteModelResponse deleted;
  grpc::ClientContext context;
  EXPECT_TRUE(models_->DeleteModel(&context, deletion, &deleted).ok());
  reader.join();
}

TEST_F(PullCallTest, AReaderThatLeavesWhileItWaitsIsForgotten) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  *request.mutable_have() = version;
  *request.mutable_wait() = ToApi(absl::Hours(1));
  grpc::ClientContext context;
  auto reader = workers_->Pull(&context, request);
  while (server_->live_call_count() < 1) std::this_thread::yield();
  context.TryCancel();
  v1::PullResponse response;
  EXPECT_FALSE(reader->Read(&response));
  reader->Finish();
  while (server_->live_call_count() > 0) std::this_thread::yield();
}

TEST_F(PullCallTest, RefusesWhatCannotBe) {
  EXPECT_THAT(Pull(Request("absent")).description,
              StartsWith("NOT_FOUND MODEL_UNKNOWN"));
  v1::CreateModelRequest create;
  *create.mutable_spec() = PlainSpec("empty", 3);
  v1::CreateModelResponse created;
  grpc::ClientContext context;
  ASSERT_TRUE(models_->CreateModel(&context, create, &created).ok());
  EXPECT_THAT(Pull(Request("empty")).description,
              StartsWith("FAILED_PRECONDITION NOT_INITIALIZED"));

  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  *request.mutable_have() = version;
  request.mutable_have()->set_number(1);
  EXPECT_THAT(Pull(request).description, StartsWith("OUT_OF_RANGE FUTURE"));
  request.mutable_have()->set_number(0);
  request.mutable_wait()->set_seconds(-1);
  EXPECT_THAT(Pull(request).description,
              AllOf(StartsWith("INVALID_ARGUMENT"), HasSubstr("wait: -1s")));
}

TEST_F(PullCallTest, AReaderOfAnotherLineageGetsEverything) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request = Request();
  request.mutable_have()->set_lineage("00000000000000000000000000000000");
  request.mutable_have()->set_number(57);
  *request.mutable_wait() = ToApi(absl::Hours(1));
  const Pulled pulled = Pull(request);
  EXPECT_EQ(pulled.header.version().number(), 0);
  EXPECT_THAT(Floats(pulled.bytes), ElementsAre(1, 2, 3));
}

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
