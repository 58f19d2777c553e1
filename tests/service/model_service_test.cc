#include <set>
#include <string>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "tests/service/service_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ModelServiceTest : public ServiceFixture {
 protected:
  grpc::Status Create(const v1::ModelSpec& spec,
                      v1::CreateModelResponse* response,
                      std::string* description = nullptr) {
    v1::CreateModelRequest request;
    *request.mutable_spec() = spec;
    grpc::ClientContext context;
    const grpc::Status status =
        models_->CreateModel(&context, request, response);
    if (description != nullptr) *description = Describe(status, context);
    return status;
  }

  std::string Get(const std::string& name, v1::Model* model) {
    v1::GetModelRequest request;
    request.set_model(name);
    v1::GetModelResponse response;
    grpc::ClientContext context;
    const grpc::Status status = models_->GetModel(&context, request, &response);
    *model = response.model();
    return Describe(status, context);
  }
};

TEST_F(ModelServiceTest, CreateIsIdempotentForTheSameSpecOnly) {
  v1::CreateModelResponse response;
  ASSERT_TRUE(Create(PlainSpec("m", 5), &response).ok());
  EXPECT_TRUE(response.created());
  EXPECT_EQ(response.model().state(), v1::Model::STATE_UNINITIALIZED);
  EXPECT_EQ(response.model().parameter_count(), 5);
  EXPECT_FALSE(response.model().has_version());
  // What describe shows creates the same model again.
  const v1::ModelSpec shown = response.model().spec();
  for (const v1::ModelSpec& same : {PlainSpec("m", 5), shown}) {
    ASSERT_TRUE(Create(same, &response).ok());
    EXPECT_FALSE(response.created());
  }
  std::string description;
  Create(PlainSpec("m", 6), &response, &description);
  EXPECT_THAT(description, StartsWith("ALREADY_EXISTS MODEL_EXISTS"));
}

TEST_F(ModelServiceTest, AnErrorAboutALongNameArrivesWithItsDetail) {
  for (const char* character : {"x", "\xc3\xa9", "%"}) {
    v1::GetModelRequest request;
    while (request.model().size() < 100'000) {
      request.mutable_model()->append(character);
    }
    v1::GetModelResponse response;
    grpc::ClientContext context;
    const grpc::Status status = models_->GetModel(&context, request, &response);
    EXPECT_THAT(Describe(status, context),
                StartsWith("NOT_FOUND MODEL_UNKNOWN: no model \"" +
                           std::string(character) + character));
    EXPECT_THAT(DetailOf(context).subject(), StartsWith(character));
  }
}

TEST_F(ModelServiceTest, AnUnspecifiedEnumIsRefusedByName) {
  v1::ModelSpec spec = PlainSpec("m", 5);
  spec.mutable_optimizer()->set_decay(v1::DECAY_UNSPECIFIED);
  v1::CreateModelResponse response;
  std::string description;
  Create(spec, &response, &description);
  EXPECT_THAT(description, StartsWith("INVALID_ARGUMENT INVALID_SPEC: "
                                      "spec.optimizer.decay"));
}

TEST_F(ModelServiceTest, TheFirstInitializationWins) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  EXPECT_EQ(version.number(), 0);
  EXPECT_EQ(version.lineage().size(), 32U);
  grpc::ClientContext context;
  v1::InitializeModelResponse response;
  auto writer = models_->InitializeModel(&context, &response);
  v1::InitializeModelRequest request;
  request.mutable_header()->set_model("m");
  v1::Initializer& zeros = *request.mutable_header()->add_initializers();
  zeros.set_tensor("w");
  zeros.set_constant(0);
  writer->Write(request);
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  EXPECT_THAT(Describe(status, context),
              StartsWith("ALREADY_EXISTS ALREADY_INITIALIZED"));
}

TEST_F(ModelServiceTest, InitializersNeedNoValues) {
  v1::CreateModelResponse created;
  ASSERT_TRUE(Create(PlainSpec("m", 3), &created).ok());
  grpc::ClientContext context;
  v1::InitializeModelResponse response;
  auto writer = models_->InitializeModel(&context, &response);
  v1::InitializeModelRequest request;
  request.mutable_header()->set_model("m");
  v1::Initializer& half = *request.mutable_header()->add_initializers();
  half.set_tensor("w");
  half.set_constant(0.5);
  writer->Write(request);
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  ASSERT_TRUE(status.ok()) << Describe(status, context);
  v1::PullRequest pull;
  pull.set_model("m");
  pull.set_encoding(v1::ENCODING_F32);
  EXPECT_THAT(Floats(Pull(pull).bytes), ElementsAre(0.5, 0.5, 0.5));
}

TEST_F(ModelServiceTest, ListsInPages) {
  v1::CreateModelResponse created;
  for (const char* name : {"c", "a", "b"}) {
    ASSERT_TRUE(Create(PlainSpec(name, 1), &created).ok());
  }
  v1::ListModelsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  int pages = 0;
  do {
    v1::ListModelsResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(models_->ListModels(&context, request, &response).ok());
    for (const v1::Model& model : response.models()) {
      names.push_back(model.spec().name());
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));
  EXPECT_EQ(pages, 2);

  request.set_page_size(-1);
  v1::ListModelsResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(models_->ListModels(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ModelServiceTest, DescribesWhereAModelIs) {
  const v1::Version version =
      CreateInitialized(PlainSpec("m", 3, 2), {1, 2, 3});
  const std::string pushed = OpenSession("m", "worker-1");
  OpenSession("m", "worker-2");
  v1::PushHeader header = HeaderFor("m", pushed, 1, version, 3);
  header.set_loss(0.25);
  v1::PushResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(Push(&context, header, FloatBytes({1, 1, 1}), &response).ok());
  v1::Model model;
  ASSERT_EQ(Get("m", &model), "OK");
  EXPECT_EQ(model.state(), v1::Model::STATE_READY);
  EXPECT_EQ(model.version().number(), 0);
  EXPECT_EQ(model.folded_pushes(), 1);
  ASSERT_EQ(model.groups_size(), 1);
  EXPECT_EQ(model.groups(0).position(), 1);
  EXPECT_EQ(model.groups(0).k(), 2);
  EXPECT_THAT(model.pushed_workers(), ElementsAre("worker-1"));
  EXPECT_THAT(model.missing_workers(), ElementsAre("worker-2"));
  EXPECT_EQ(model.payload_bytes(), 12);
  EXPECT_EQ(model.received_bytes(), 12);
  EXPECT_GT(model.memory().ceiling_bytes(), 0);
  std::set<std::string> tags;
  for (const v1::MemoryItem& item : model.memory().items()) {
    tags.insert(item.tag());
  }
  EXPECT_TRUE(tags.contains("parameters"));

  v1::ListSessionsRequest list;
  list.set_model("m");
  list.set_page_size(1);
  v1::ListSessionsResponse sessions;
  grpc::ClientContext list_context;
  ASSERT_TRUE(models_->ListSessions(&list_context, list, &sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).worker(), "worker-1");
  EXPECT_EQ(sessions.sessions(0).last_sequence(), 1);
  EXPECT_EQ(sessions.sessions(0).id_prefix(), pushed.substr(0, 8));
  list.set_page_token(sessions.next_page_token());
  grpc::ClientContext next_context;
  ASSERT_TRUE(models_->ListSessions(&next_context, list, &sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).worker(), "worker-2");
  EXPECT_EQ(sessions.next_page_token(), "");
}

TEST_F(ModelServiceTest, UpdatesHyperparametersAllOrNone) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::UpdateHyperparametersRequest request;
  request.set_model("m");
  request.add_updates()->mutable_hyperparameters()->set_learning_rate(0.25);
  v1::UpdateHyperparametersResponse response;
  {
    grpc::ClientContext context;
    const grpc::Status status =
        models_->UpdateHyperparameters(&context, request, &response);
    ASSERT_TRUE(status.ok()) << Describe(status, context);
  }
  EXPECT_EQ(response.model().spec().groups(0).hyperparameters().learning_rate(),
            0.25);
  request.mutable_updates(0)->mutable_hyperparameters()->set_learning_rate(0.5);
  request.add_updates()->set_group("absent");
  {
    grpc::ClientContext context;
    const grpc::Status status =
        models_->UpdateHyperparameters(&context, request, &response);
    EXPECT_THAT(Describe(status, context),
                StartsWith("INVALID_ARGUMENT INVALID_SPEC"));
  }
  // Counted, not carried out: more than there are groups, and as many as a
  // message holds.
  for (const auto& [count, most] : {std::pair(3, 2), {2'000'000, 100'000}}) {
    request.clear_updates();
    while (request.updates_size() < count) request.add_updates();
    grpc::ClientContext context;
    const grpc::Status status =
        models_->UpdateHyperparameters(&context, request, &response);
    EXPECT_EQ(Describe(status, context),
              absl::StrCat("INVALID_ARGUMENT INVALID_SPEC: updates: ", count,
                           ", at most ", most));
  }
  v1::Model model;
  ASSERT_EQ(Get("m", &model), "OK");
  EXPECT_EQ(model.spec().groups(0).hyperparameters().learning_rate(), 0.25);
}

TEST_F(ModelServiceTest, EndCycleClosesAnOpenCycleOnce) {
  const v1::Version version = CreateInitialized(PlainSpec("m", 1, 4), {8});
  const std::string session = OpenSession("m", "w");
  v1::PushResponse pushed;
  grpc::ClientContext push_context;
  ASSERT_TRUE(Push(&push_context, HeaderFor("m", session, 1, version, 1),
                   FloatBytes({4}), &pushed)
                  .ok());
  v1::EndCycleRequest request;
  request.set_model("m");
  *request.mutable_version() = version;
  for (const bool first : {true, false}) {
    v1::EndCycleResponse response;
    grpc::ClientContext context;
    const grpc::Status status = models_->EndCycle(&context, request, &response);
    ASSERT_TRUE(status.ok()) << Describe(status, context);
    EXPECT_EQ(response.version().number(), 1);
    EXPECT_EQ(response.closed_groups_size(), first ? 1 : 0);
    if (first) {
      EXPECT_THAT(response.missing_pushes(), ElementsAre(3));
    }
  }
  v1::PullRequest pull;
  pull.set_model("m");
  pull.set_encoding(v1::ENCODING_F32);
  EXPECT_THAT(Floats(Pull(pull).bytes), ElementsAre(7));  // 8 - 4/4
}

TEST_F(ModelServiceTest, ADeletedModelIsUnknown) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::DeleteModelRequest request;
  request.set_model("m");
  for (const char* expected : {"OK", "NOT_FOUND MODEL_UNKNOWN"}) {
    v1::DeleteModelResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        models_->DeleteModel(&context, request, &response);
    EXPECT_THAT(Describe(status, context), StartsWith(expected));
  }
  v1::Model model;
  EXPECT_THAT(Get("m", &model), StartsWith("NOT_FOUND MODEL_UNKNOWN"));
}

TEST_F(ModelServiceTest, WhatIsNotThereIsUnknownToEveryMethod) {
  const auto expect = [](const grpc::Status& status,
                         const grpc::ClientContext& context) {
    EXPECT_THAT(Describe(status, context),
                StartsWith("NOT_FOUND MODEL_UNKNOWN"));
    EXPECT_EQ(DetailOf(context).subject(), "absent");
  };
  {
    grpc::ClientContext context;
    v1::EndCycleRequest request;
    request.set_model("absent");
    v1::EndCycleResponse response;
    expect(models_->EndCycle(&context, request, &response), context);
  }
  {
    grpc::ClientContext context;
    v1::ListSessionsRequest request;
    request.set_model("absent");
    v1::ListSessionsResponse response;
    expect(models_->ListSessions(&context, request, &response), context);
  }
  {
    grpc::ClientContext context;
    v1::UpdateHyperparametersRequest request;
    request.set_model("absent");
    v1::UpdateHyperparametersResponse response;
    expect(models_->UpdateHyperparameters(&context, request, &response),
           context);
  }
  {
    grpc::ClientContext context;
    v1::OpenSessionRequest request;
    request.set_model("absent");
    request.set_worker("w");
    v1::OpenSessionResponse response;
    expect(workers_->OpenSession(&context, request, &response), context);
  }
  {
    grpc::ClientContext context;
    v1::CloseSessionRequest request;
    request.set_model("absent");
    v1::CloseSessionResponse response;
    expect(workers_->CloseSession(&context, request, &response), context);
  }
}

}  // namespace
}  // namespace accrue
