#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "absl/time/clock.h"
#include "server/service/convert.h"
#include "server/service/publication_stream.h"
#include "tests/service/pull_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

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

}  // namespace
}  // namespace accrue
