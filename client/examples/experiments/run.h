// Run: one model on the daemon with one worker, from its creation to its end.
// All optimizer work is the daemon's; a run only makes gradients at the
// parameters that it is shown.
//
// Errors.    the SDK's; INTERNAL: a push was refused for another reason than
//            its values
// Threading. compatible

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_RUN_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_RUN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "accrue/client.h"

namespace accrue::experiments {

// A name that no other model of this daemon has.
std::string UniqueModelName(absl::string_view experiment);

enum class Pushed {
  kFolded,     // and no update was due
  kUpdated,    // parameters() are new
  kNonFinite,  // refused: the gradient has left the numbers
};

class Run {
 public:
  // Creates the model and gives it its first parameters.
  static absl::StatusOr<Run> Start(const client::Client& client,
                                   const client::ModelSpec& spec,
                                   std::vector<float> initial,
                                   const client::Compression& compression = {});

  // The newest published, as of the last push or ReadAgain().
  const std::vector<float>& parameters() const { return parameters_; }

  absl::StatusOr<Pushed> Push(absl::Span<const float> gradient);

  // Pulls the parameters anew, whatever this run has of them.
  absl::Status ReadAgain();

  absl::StatusOr<client::ModelDescription> Describe() const;

  // Deletes the model and says what it was like.
  absl::StatusOr<client::ModelDescription> Finish();

 private:
  Run(client::Client client, client::Model model, client::Worker worker,
      std::vector<float> parameters);

  client::Client client_;
  client::Model model_;
  client::Worker worker_;
  std::vector<float> parameters_;
};

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_RUN_H_
