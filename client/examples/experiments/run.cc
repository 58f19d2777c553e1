#include "client/examples/experiments/run.h"

#include <atomic>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

// A version that a push has made is there at once.
constexpr absl::Duration kWait = absl::Seconds(30);

}  // namespace

std::string UniqueModelName(absl::string_view experiment) {
  static std::atomic<int> count{0};
  return absl::StrCat(experiment, "-", getpid(), "-", ++count);
}

Run::Run(client::Client client, client::Model model, client::Worker worker,
         std::vector<float> parameters)
    : client_(std::move(client)),
      model_(std::move(model)),
      worker_(std::move(worker)),
      parameters_(std::move(parameters)) {}

absl::StatusOr<Run> Run::Start(const client::Client& client,
                               const client::ModelSpec& spec,
                               std::vector<float> initial,
                               const client::Compression& compression) {
  ACCRUE_ASSIGN_OR_RETURN(client::Model model, client.CreateModel(spec));
  ACCRUE_RETURN_IF_ERROR(model.InitializeValues(initial).status());
  ACCRUE_ASSIGN_OR_RETURN(client::Worker worker,
                          model.OpenWorker({.compression = compression}));
  ACCRUE_RETURN_IF_ERROR(worker.Pull(&initial).status());
  return Run(client, std::move(model), std::move(worker), std::move(initial));
}

absl::StatusOr<Pushed> Run::Push(absl::Span<const float> gradient) {
  ACCRUE_ASSIGN_OR_RETURN(const client::PushResult pushed,
                          worker_.Push(gradient));
  if (!pushed.accepted) {
    if (pushed.reason == client::Reason::kNonFinite) return Pushed::kNonFinite;
    return absl::InternalError(
        absl::StrCat("a push was refused: ", client::ReasonName(pushed.reason),
                     ": ", pushed.message));
  }
  if (!pushed.published) return Pushed::kFolded;
  ACCRUE_RETURN_IF_ERROR(worker_.PullNewer(&parameters_, kWait).status());
  return Pushed::kUpdated;
}

absl::Status Run::ReadAgain() { return worker_.Pull(&parameters_).status(); }

absl::StatusOr<client::ModelDescription> Run::Describe() const {
  return model_.Describe();
}

absl::StatusOr<client::ModelDescription> Run::Finish() {
  ACCRUE_RETURN_IF_ERROR(worker_.Close());
  ACCRUE_ASSIGN_OR_RETURN(client::ModelDescription description,
                          model_.Describe());
  ACCRUE_RETURN_IF_ERROR(client_.DeleteModel(model_.name()));
  return description;
}

}  // namespace accrue::experiments
