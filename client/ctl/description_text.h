// What the daemon says, as tables for people.

#ifndef ACCRUE_CLIENT_CTL_DESCRIPTION_TEXT_H_
#define ACCRUE_CLIENT_CTL_DESCRIPTION_TEXT_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "accrue/description.h"

namespace accrue::ctl {

// One line a model, and below them why the damaged and left-out ones are so.
std::string ModelsText(const std::vector<client::ModelDescription>& models);

// A model from its spec to its memory.
std::string ModelText(const client::ModelDescription& model);

// Groups and tensors of a spec that is not applied yet.
std::string SpecText(const client::ModelSpec& spec);

// One line a session. `now` is what ages are counted from.
std::string SessionsText(
    const std::vector<client::SessionDescription>& sessions, absl::Time now);

// One line a checkpoint. `now` as above.
std::string CheckpointsText(
    const std::vector<client::CheckpointDescription>& checkpoints,
    absl::Time now);

// One line a group: where it is in its cycle, and its hyperparameters.
std::string GroupsText(const client::ModelDescription& model);

std::string ServerInfoText(const client::ServerInfo& info);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_DESCRIPTION_TEXT_H_
