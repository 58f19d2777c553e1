// What the daemon says, as JSON: the keys are the API's field names, and a spec
// is written as spec files are read, so that one may become the other.

#ifndef ACCRUE_CLIENT_CTL_DESCRIPTION_JSON_H_
#define ACCRUE_CLIENT_CTL_DESCRIPTION_JSON_H_

#include <vector>

#include "accrue/description.h"
#include "accrue/spec.h"
#include "accrue/version.h"
#include "accrue/watcher.h"
#include "nlohmann/json.hpp"

namespace accrue::ctl {

using Json = nlohmann::ordered_json;

Json ToJson(const client::ModelSpec& spec);
Json ToJson(const client::ModelDescription& description);
Json ToJson(const client::CheckpointDescription& checkpoint);
Json ToJson(const client::SessionDescription& session);
Json ToJson(const std::vector<client::SessionDescription>& sessions);
Json ToJson(const client::ServerInfo& info);
Json ToJson(const client::Notice& notice);
Json ToJson(const client::Version& version);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_DESCRIPTION_JSON_H_
