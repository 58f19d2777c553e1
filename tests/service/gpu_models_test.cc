// Models on GPUs that fail, are lost, have no memory or take their time, behind
// the API.
#include <future>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "server/service/health.h"
#include "tests/service/gpu_fixture.h"
#include "tests/service/raw_call.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

// Several chunks of a pass.
constexpr int64_t kElems = 600'000;

class GpuModelsTest : public GpuFixture {
 protected:
  // k = 1, learning rate 1: a push of g makes w - g of w.
  struct Trained {
    std::string name;
    std::string session = {};
    v1::Version version = {};
    int64_t sequence = 0;
    float w = 1;
    int64_t elems = kElems;
  };

  // Models go to the GPUs by turns.
  Trained Make(const std::string& name, int64_t elems = kElems) {
    Trained model{.name = name, .elems = elems};
    Initialize(model);
    model.session = OpenSession(name, "worker");
    return model;
  }

  static std::vector<float> AllOf(const Trained& model, float value) {
    return std::vector<float>(static_cast<size_t>(model.elems), value);
  }

  // Also anew.
  void Initialize(Trained& model) {
    model.w = 1;
    model.version = CreateInitialized(PlainSpec(model.name, model.elems),
                                      AllOf(model, model.w));
  }

  // How it ended.
  std::string Create(const std::string& name, int64_t elems = kElems) {
    v1::CreateModelRequest request;
    *request.mutable_spec() = PlainSpec(name, elems);
    v1::CreateModelResponse created;
    grpc::ClientContext context;
    const grpc::Status status =
        models_->CreateModel(&context, request, &created);
    return Describe(status, context);
  }

  // A push of nothing but `g`; how it ended.
  std::string Push(Trained& model, float g) {
    v1::PushResponse response;
    grpc::ClientContext context;
    const grpc::Status status = ServiceFixture::Push(
        &context,
        HeaderFor(model.name, model.session, model.sequence + 1, model.version,
                  model.elems),
        FloatBytes(AllOf(model, g)), &response);
    if (status.ok()) {
      model.version = response.version();
      ++model.sequence;
      model.w -= g;
    }
    return Describe(status, context);
  }

  // An upload of nothing but `value`, begun: the daemon has its header and
  // keeps room for the rest.
  class Upload {
   public:
    Upload(GpuModelsTest& test, const std::string& model, bool restore,
           float value)
        : payload_(FloatBytes(std::vector<float>(kElems, value))),
          writer_(test.models_->InitializeModel(&context_, &response_)) {
      const int64_t reserved = test.Info().ingest_reserved_bytes();
      v1::InitializeModelRequest request;
      request.mutable_header()->set_model(model);
      request.mutable_header()->set_restore(restore);
      request.mutable_header()->set_encoding(v1::ENCODING_F32);
      request.mutable_header()->set_payload_bytes(
          static_cast<int64_t>(payload_.size()));
      EXPECT_TRUE(writer_->Write(request));
      const absl::Time deadline = absl::Now() + absl::Minutes(1);
      while (test.Info().ingest_reserved_bytes() == reserved) {
        if (absl::Now() < deadline) continue;
        ADD_FAILURE() << "no room is kept for the upload";
        break;
      }
    }

    // How it ended.
    std::string End() {
      v1::InitializeModelRequest request;
      request.set_chunk(payload_);
      writer_->Write(request);
      writer_->WritesDone();
      const grpc::Status status = writer_->Finish();
      return Describe(status, context_);
    }
    const v1::Version& version() const { return response_.version(); }

   private:
    const std::string payload_;
    grpc::ClientContext context_;
    v1::InitializeModelResponse response_;
    const std::unique_ptr<grpc::ClientWriter<v1::InitializeModelRequest>>
        writer_;
  };

  v1::Model Get(const std::string& name) {
    v1::GetModelRequest request;
    request.set_model(name);
    v1::GetModelResponse response;
    grpc::ClientContext context;
    const grpc::Status status = models_->GetModel(&context, request, &response);
    EXPECT_TRUE(status.ok()) << Describe(status, context);
    return response.model();
  }
  v1::Model::State StateOf(const std::string& name) {
    return Get(name).state();
  }

  Pulled PullAs(v1::Encoding encoding, const Trained& model) {
    v1::PullRequest request;
    request.set_model(model.name);
    request.set_encoding(encoding);
    Pulled pulled = Pull(request);
    EXPECT_EQ(pulled.description, "OK");
    return pulled;
  }

  void ExpectParameters(const Trained& model) {
    const Pulled pulled = PullAs(v1::ENCODING_F32, model);
    // Too long to be printed.
    EXPECT_TRUE(pulled.bytes == FloatBytes(AllOf(model, model.w)));
  }
};

TEST_F(GpuModelsTest, AFaultAmidAFoldPoisonsItsModelAloneUntilItBeginsAnew) {
  Trained faulty = Make("faulty");
  Trained elsewhere = Make("elsewhere");
  Trained beside = Make("beside");
  for (Trained* model : {&faulty, &elsewhere, &beside}) {
    EXPECT_EQ(Push(*model, 0.25f), "OK");
  }
  gpu(0).Inject({.op = FakeOp::kKernel,
                 .nth = 3,
                 .effect = FakeFault::Effect::kFail,
                 .status = absl::InternalError("a planted fault")});
  EXPECT_THAT(Push(faulty, 0.25f), StartsWith("INTERNAL DEVICE_FAULT"));
  EXPECT_THAT(Push(faulty, 0.25f), StartsWith("FAILED_PRECONDITION POISONED"));

  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.set_model("faulty");
  v1::GetModelResponse described;
  ASSERT_TRUE(models_->GetModel(&context, request, &described).ok());
  EXPECT_EQ(described.model().state(), v1::Model::STATE_POISONED);
  EXPECT_THAT(described.model().poison_reason(), HasSubstr("a planted fault"));
  for (Trained* model : {&elsewhere, &beside}) {
    EXPECT_EQ(Push(*model, 0.5f), "OK");
    ExpectParameters(*model);
  }

  Initialize(faulty);
  for (Trained* model : {&faulty, &elsewhere, &beside}) {
    EXPECT_EQ(Push(*model, 0.5f), "OK");
    ExpectParameters(*model);
  }
}

// Too large for one GPU alone to be worth it: it lies on both.
TEST_F(GpuModelsTest, AModelInPartsFailsWithAnyOfThemAndPublishesNoHalf) {
  Trained parts = Make("parts", int64_t{9} << 20);
  Trained first = Make("first"), second = Make("second");
  for (Trained* model : {&parts, &first, &second}) {
    EXPECT_EQ(Push(*model, 0.25f), "OK");
    ExpectParameters(*model);
  }
  gpu(1).Inject({.op = FakeOp::kKernel,
                 .nth = 3,
                 .effect = FakeFault::Effect::kLose,
                 .status = absl::InternalError("fallen off")});
  EXPECT_THAT(Push(parts, 0.25f), StartsWith("INTERNAL DEVICE_FAULT"));
  // A version is all of it or none.
  EXPECT_EQ(Get("parts").state(), v1::Model::STATE_POISONED);
  EXPECT_EQ(Get("parts").version().number(), parts.version.number());

  const bool on_first = Push(first, 0.5f) == "OK";
  EXPECT_NE(on_first, Push(second, 0.5f) == "OK");
  ExpectParameters(on_first ? first : second);
}

TEST_F(GpuModelsTest, APullAsksNothingOfAGpu) {
  Trained model = Make("m");
  EXPECT_EQ(Push(model, 0.25f), "OK");
  PullAs(v1::ENCODING_BF16, model);  // there is a copy from now on
  EXPECT_EQ(Push(model, 0.25f), "OK");
  const auto work = [this] {
    const FakeCounts counts = gpu(0).counts();
    return std::tuple(counts.run, counts.to_host_bytes, counts.to_device_bytes,
                      counts.device_bytes, counts.pinned_bytes);
  };
  const auto before = work();
  ExpectParameters(model);
  PullAs(v1::ENCODING_BF16, model);
  EXPECT_EQ(work(), before);
  gpu(0).Lose("fallen off");
  ExpectParameters(model);
}

// Whatever was true when it began: what counts is what it ends in.
TEST_F(GpuModelsTest, AnUploadThatSawNoFaultRestoresOnlyIfItSaidSo) {
  v1::CreateModelRequest create;
  *create.mutable_spec() = PlainSpec("m", kElems);
  v1::CreateModelResponse created;
  grpc::ClientContext context;
  ASSERT_TRUE(models_->CreateModel(&context, create, &created).ok());
  Upload first(*this, "m", /*restore=*/false, 2);
  Upload other(*this, "m", /*restore=*/true, 3);
  Trained model = Make("m");
  gpu(0).Inject({.op = FakeOp::kKernel, .effect = FakeFault::Effect::kFail});
  EXPECT_THAT(Push(model, 0.25f), StartsWith("INTERNAL DEVICE_FAULT"));

  EXPECT_THAT(first.End(), StartsWith("FAILED_PRECONDITION POISONED"));
  EXPECT_EQ(StateOf("m"), v1::Model::STATE_POISONED);
  EXPECT_EQ(other.End(), "OK");
  EXPECT_EQ(StateOf("m"), v1::Model::STATE_READY);
  model.version = other.version();
  model.w = 3;
  EXPECT_EQ(Push(model, 0.25f), "OK");
  ExpectParameters(model);
}

TEST_F(GpuModelsTest, WhatAModelPublishesIsPinnedByItsOwnGpu) {
  const auto pinned = [this] {
    return std::pair(gpu(0).counts().pinned_bytes,
                     gpu(1).counts().pinned_bytes);
  };
  auto [zero, one] = pinned();
  Trained first = Make("first");
  zero += kElems * 4;
  EXPECT_EQ(pinned(), std::pair(zero, one));
  const Trained second = Make("second");
  one += kElems * 4;
  EXPECT_EQ(pinned(), std::pair(zero, one));
  PullAs(v1::ENCODING_BF16, second);
  one += kElems * 2;
  EXPECT_EQ(pinned(), std::pair(zero, one));
  // Of any number of versions two exist at once.
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Push(first, 0.25f), "OK");
  zero += kElems * 4;
  EXPECT_EQ(pinned(), std::pair(zero, one));
}

TEST_F(GpuModelsTest, ALostGpuTakesItsModelsAndNoOthers) {
  Trained first = Make("first"), second = Make("second");
  for (Trained* model : {&first, &second}) EXPECT_EQ(Push(*model, 0.25f), "OK");
  gpu(0).Lose("fallen off");
  const std::string failed = Push(first, 0.25f);
  EXPECT_THAT(failed, StartsWith("INTERNAL DEVICE_FAULT"));
  EXPECT_THAT(failed, HasSubstr("fallen off"));
  EXPECT_EQ(Push(second, 0.25f), "OK");
  ExpectParameters(second);
  // New ones go where there is a GPU left.
  Trained third = Make("third"), fourth = Make("fourth");
  for (Trained* model : {&third, &fourth}) {
    EXPECT_EQ(Push(*model, 0.5f), "OK");
    ExpectParameters(*model);
  }
}

TEST_F(GpuModelsTest, ModelsAreRestoredAsLongAsThereIsAGpu) {
  Trained first = Make("first"), second = Make("second");
  gpu(0).Lose("fallen off");
  EXPECT_THAT(Push(first, 0.25f), StartsWith("INTERNAL DEVICE_FAULT"));
  EXPECT_EQ(Push(second, 0.25f), "OK");
  EXPECT_THAT(Get("first").devices(), ElementsAre("fake:0"));
  Initialize(first);
  for (Trained* model : {&first, &second}) {
    EXPECT_EQ(Push(*model, 0.5f), "OK");
    ExpectParameters(*model);
    EXPECT_THAT(Get(model->name).devices(), ElementsAre("fake:1"));
  }
  gpu(1).Lose("fallen off too");
  for (Trained* model : {&first, &second}) {
    EXPECT_THAT(Push(*model, 0.5f), StartsWith("INTERNAL DEVICE_FAULT"));
    const std::string refused =
        Upload(*this, model->name, /*restore=*/true, 1).End();
    EXPECT_THAT(refused, StartsWith("INTERNAL DEVICE_FAULT"));
    EXPECT_THAT(refused, HasSubstr("fallen off"));
    EXPECT_EQ(StateOf(model->name), v1::Model::STATE_POISONED);
    EXPECT_THAT(Get(model->name).devices(), IsEmpty());
  }
  const std::string refused = Create("third");
  EXPECT_THAT(refused, StartsWith("INTERNAL DEVICE_FAULT"));
  EXPECT_THAT(refused, HasSubstr("fallen off"));
}

TEST_F(GpuModelsTest, WhatALostGpuKeepsOfADeletedModelIsTakenForGood) {
  const Trained stays = Make("stays");
  const auto ceiling = [&] { return Get(stays.name).memory().ceiling_bytes(); };
  const int64_t before = ceiling();
  Trained gone = Make("gone");
  EXPECT_EQ(Push(gone, 0.25f), "OK");
  const int64_t with = ceiling();
  const int64_t kept = Get(gone.name).memory().published_bytes();
  EXPECT_EQ(kept, 2 * kElems * 4);
  gpu(1).Lose("fallen off");
  v1::DeleteModelRequest request;
  request.set_model(gone.name);
  v1::DeleteModelResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(models_->DeleteModel(&context, request, &response).ok());
  while (ceiling() >= with) {
  }
  EXPECT_EQ(ceiling(), before + kept);
}

TEST_F(GpuModelsTest, WhereOneGpuIsFullModelsGoToTheOther) {
  // As if by another process.
  const auto filled =
      gpu(0).Allocate(kCapacityBytes - gpu(0).counts().device_bytes,
                      MemoryTag::kOther, nullptr);
  ASSERT_TRUE(filled.ok()) << filled.status();
  for (const char* name : {"first", "second", "third"}) {
    Trained model = Make(name);
    EXPECT_EQ(Push(model, 0.5f), "OK");
    ExpectParameters(model);
  }
}

TEST_F(GpuModelsTest, AModelThatDoesNotFitIsRefusedAndTheOthersGoOn) {
  Trained small = Make("small");
  // Of 64 MiB a GPU each half's two arrays take 96.
  const std::string refused = Create("large", int64_t{24} << 20);
  EXPECT_THAT(refused, StartsWith("RESOURCE_EXHAUSTED DEVICE_MEMORY: fake:"));
  EXPECT_THAT(refused, HasSubstr("no memory for"));
  EXPECT_EQ(Push(small, 0.5f), "OK");
  ExpectParameters(small);
  EXPECT_EQ(Create("large", int64_t{12} << 20), "OK");
  EXPECT_THAT(Get("large").devices(), UnorderedElementsAre("fake:0", "fake:1"));
  EXPECT_EQ(Push(small, 0.5f), "OK");
}

// A GPU whose driver is asked for what it does not give until the test's end.
class SlowDriverTest : public GpuModelsTest {
 protected:
  ~SlowDriverTest() override {
    for (Gate* gate : closed_) gate->Open();
  }
  Gate& Close(int index, FakeCall call) {
    Gate& gate = gpu(index).gate(call);
    gate.Close();
    return *closed_.emplace_back(&gate);
  }

  // What asks no driver for anything is answered.
  void ExpectServing(Trained& model) {
    EXPECT_EQ(Push(model, 0.25f), "OK");
    ExpectParameters(model);
    EXPECT_EQ(StateOf(model.name), v1::Model::STATE_READY);
    const v1::GetServerInfoResponse info = Info();
    ASSERT_EQ(info.device_infos_size(), 2);
    EXPECT_EQ(info.device_infos(0).total_bytes(), kCapacityBytes);
    for (const char* service : {"", kModelsHealth, kDevicesHealth}) {
      EXPECT_EQ(HealthOf(channel_, service), "SERVING");
    }
  }

 private:
  std::vector<Gate*> closed_;
};

TEST_F(SlowDriverTest, WhileACopyWaitsForItsMemoryTheOthersGoOn) {
  Trained first = Make("first"), second = Make("second");
  for (Trained* model : {&first, &second}) {
    // As many publications as take turns.
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Push(*model, 0.25f), "OK");
  }
  Gate& gate = Close(0, FakeCall::kAllocateHost);
  auto copy = std::async(std::launch::async,
                         [&] { return PullAs(v1::ENCODING_BF16, first); });
  gate.AwaitCaller();
  ExpectParameters(first);
  ExpectServing(second);
  EXPECT_EQ(Create("another"), "OK");
  gate.Open();
  EXPECT_EQ(copy.get().bytes.size(), kElems * 2);
}

TEST_F(SlowDriverTest, WhileAModelIsMadeTheOthersGoOn) {
  Trained first = Make("first"), second = Make("second");
  for (Trained* model : {&first, &second}) EXPECT_EQ(Push(*model, 0.25f), "OK");
  Gate& gate = Close(0, FakeCall::kAllocate);
  auto third =
      std::async(std::launch::async, [this] { return Create("third"); });
  gate.AwaitCaller();
  for (Trained* model : {&first, &second}) ExpectServing(*model);
  EXPECT_EQ(Create("fourth"), "OK");
  gate.Open();
  EXPECT_EQ(third.get(), "OK");
}

TEST_F(SlowDriverTest, NobodyWaitsForADriverThatIsOnlyLookedAfter) {
  Trained first = Make("first"), second = Make("second");
  Close(0, FakeCall::kMemory).AwaitCaller();
  for (Trained* model : {&first, &second}) ExpectServing(*model);
  // Nor is a loss told any later that something else has met.
  gpu(1).Lose("fallen off");
  EXPECT_EQ(AwaitHealth(channel_, kDevicesHealth, "NOT_SERVING"),
            "NOT_SERVING");
  EXPECT_THAT(Info().device_infos(1).fault(), HasSubstr("fallen off"));
}

}  // namespace
}  // namespace accrue
