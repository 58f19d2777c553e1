// Models come and go on a slow disk.
#include <chrono>
#include <deque>
#include <future>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/service/disk_fixture.h"

namespace accrue {
namespace {

// More than there can be threads, on a machine of few processors; fewer than a
// connection may have calls.
constexpr int kDeletes = 200;

class ChangesTest : public DiskFixture {
 protected:
  struct Call {
    grpc::ClientContext context;
    v1::DeleteModelRequest request;
    v1::DeleteModelResponse response;
    std::promise<grpc::Status> ended;
    std::future<grpc::Status> status = ended.get_future();
  };

  ~ChangesTest() override {
    for (const Call& call : calls_) {
      if (call.status.valid()) call.status.wait();
    }
  }

  Call& Delete(const std::string& model) {
    Call& call = calls_.emplace_back();
    call.request.set_model(model);
    models_->async()->DeleteModel(
        &call.context, &call.request, &call.response,
        [&call](grpc::Status status) { call.ended.set_value(status); });
    return call;
  }

  // The disk stops at the first of many deletes, and no turn is left.
  void FillTurns() {
    CreateInitialized(PlainSpec("going", 3), {1, 2, 3});
    std::promise<void> reached;
    faults().Add({.operation = "rename",
                  .path_part = "/going@",
                  .code = absl::StatusCode::kOk,
                  .first = [&] {
                    reached.set_value();
                    go_on_.get_future().wait();
                  }});
    Delete("going");
    reached.get_future().wait();
    for (int i = 1; i < kDeletes; ++i) Delete("going");
    AwaitCalls(kDeletes);
  }

  void AwaitCalls(int64_t count) {
    while (server_->live_call_count() != count) std::this_thread::yield();
  }

  grpc::Status Get(const std::string& model) {
    v1::GetModelRequest request;
    request.set_model(model);
    v1::GetModelResponse response;
    grpc::ClientContext context;
    SetDeadline(context);
    return models_->GetModel(&context, request, &response);
  }

  // What waits for the disk would wait for ever.
  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(20));
  }

  std::promise<void> go_on_;
  std::deque<Call> calls_;
};

TEST_F(ChangesTest, HoweverManyWaitForTheDiskOthersAreAnswered) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  FillTurns();
  const grpc::Status described = Get("m");
  EXPECT_TRUE(described.ok()) << described.error_message();
  go_on_.set_value();
  int deleted = 0;
  for (Call& call : calls_) {
    const grpc::Status status = call.status.get();
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::NOT_FOUND);
    if (status.ok()) ++deleted;
  }
  EXPECT_EQ(deleted, 1);
}

TEST_F(ChangesTest, AModelThatIsThereIsOpenedWhoeverWaitsForTheDisk) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  FillTurns();
  v1::CreateModelRequest request;
  *request.mutable_spec() = PlainSpec("m", 3);
  v1::CreateModelResponse response;
  grpc::ClientContext context;
  SetDeadline(context);
  const grpc::Status opened =
      models_->CreateModel(&context, request, &response);
  EXPECT_TRUE(opened.ok()) << opened.error_message();
  EXPECT_FALSE(response.created());
  request.mutable_spec()->set_name("bad name");
  grpc::ClientContext another;
  SetDeadline(another);
  EXPECT_EQ(models_->CreateModel(&another, request, &response).error_code(),
            grpc::INVALID_ARGUMENT);
  go_on_.set_value();
}

TEST_F(ChangesTest, WhatNobodyWaitsForAnyMoreIsNotDone) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  FillTurns();
  Call& call = Delete("m");
  AwaitCalls(kDeletes + 1);
  call.context.TryCancel();
  EXPECT_EQ(call.status.get().error_code(), grpc::CANCELLED);
  // The server has read of that when it answers what was sent after it.
  EXPECT_TRUE(Get("m").ok());
  go_on_.set_value();
  AwaitCalls(0);
  EXPECT_TRUE(Get("m").ok());
}

}  // namespace
}  // namespace accrue
